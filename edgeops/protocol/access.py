"""Who may write and hear which topic, as functions of a user name.

The same as an ACL says (`edgeops.protocol.topics.mosquitto_acl`), for brokers that can be asked and for reading a
broker's log. A device's user name is its id. Nothing here knows whether somebody is who they say.
"""

from typing import assert_never

from edgeops.errors import TopicError
from edgeops.protocol.topics import PREFIX, Block, Down, Up, parse_topic


def may_publish(user: str, topic: str, *, server_user: str) -> bool:
    """Whether `user` may write there."""
    try:
        parsed = parse_topic(topic)
    except TopicError:
        return False
    match parsed:
        case Up():
            return parsed.device == user
        case Down() | Block():
            return user == server_user
        case _:
            assert_never(parsed)


def may_hear(user: str, topic: str, *, server_user: str) -> bool:
    """Whether a message on this topic may be delivered to `user`."""
    try:
        parsed = parse_topic(topic)
    except TopicError:
        return False
    match parsed:
        case Up():
            return user == server_user
        case Down():
            return parsed.device == user
        case Block():
            return True
        case _:
            assert_never(parsed)


def may_subscribe(user: str, topic_filter: str, *, server_user: str) -> bool:
    """Whether everything that the filter matches is `user`'s to hear; shared groups are nobody's."""
    own = f"{PREFIX}/up/" if user == server_user else f"{PREFIX}/down/{user}/"
    return topic_filter.startswith((own, f"{PREFIX}/blob/"))
