"""amqtt's plugins: who may subscribe to, write and hear what, by `edgeops.protocol.access`."""

from dataclasses import dataclass

from amqtt.contexts import Action
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from edgeops.protocol.access import may_hear, may_publish, may_subscribe


class Admitted(BaseAuthPlugin):  # type: ignore[misc]  # amqtt says nothing of its types
    """Whoever came through the guard has shown a password."""

    async def authenticate(self, *, session: Session) -> bool:
        """Whether it did: the guard puts the user's name in place of the client id."""
        return session.username is not None and session.username == session.client_id

    @dataclass
    class Config:
        """None."""


class Rules(BaseTopicPlugin):  # type: ignore[misc]  # amqtt says nothing of its types
    """Our ACL."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether the user of the session may do that."""
        if session is None or session.username is None or topic is None:
            return False
        allowed = {Action.SUBSCRIBE: may_subscribe, Action.PUBLISH: may_publish, Action.RECEIVE: may_hear}
        return action is not None and allowed[action](session.username, topic, server_user=self.config.server_user)

    @dataclass
    class Config:
        """The account that may write to devices and hear them all."""

        server_user: str = ""
