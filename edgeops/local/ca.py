"""A person's part in the fleet's CAs: to list the next one, and to take the last one away.

The server makes a CA and keeps its key; that devices believe it is said by the list in TUF, which targets keys sign.
What else is in that list is checked here before a key touches it, so that a server cannot slip one in.
"""

from collections.abc import Sequence

from edgeops.api.client import Client
from edgeops.digest import digest_bytes
from edgeops.errors import ConflictError, NotFoundError, TrustError
from edgeops.trust.authorities import AUTHORITIES_TARGET, Authority, encode_authorities
from edgeops.trust.draft import Draft

#: So many hex characters of a fingerprint name a CA at least.
_LEAST_DIGITS = 8


def renew(client: Client, draft: Draft) -> Authority:
    """Have the server make a CA, and list it beside those that are there.

    Raises:
        ConflictError: there is one already that does not sign yet, or there are too many.
        TrustError: the server shows other CAs than are listed.
    """
    listed = _listed(client, draft)
    made = Authority.from_pem(client.next_authority().pem)
    draft.list({AUTHORITIES_TARGET: encode_authorities([*listed, made])})
    return made


def retire(client: Client, draft: Draft, fingerprint: str) -> Authority:
    """List a CA no longer.

    Raises:
        NotFoundError: no such CA, or the text fits several.
        ConflictError: it is the only one.
        TrustError: the server shows other CAs than are listed.
    """
    listed = _listed(client, draft)
    leaving = _find(listed, fingerprint)
    staying = [one for one in listed if one != leaving]
    if not staying:
        raise ConflictError("this is the only CA of the fleet; make another one first: edgeops key ca renew")
    draft.list({AUTHORITIES_TARGET: encode_authorities(staying)})
    return leaving


def _listed(client: Client, draft: Draft) -> tuple[Authority, ...]:
    """The CAs that targets keys signed, as the server shows them."""
    file = draft.base.targets.signed.targets.get(AUTHORITIES_TARGET)
    if file is None:
        return ()
    shown = tuple(Authority.from_pem(one.pem) for one in client.authorities().authorities)
    if digest_bytes(encode_authorities(shown)) != f"sha256:{file.hashes['sha256']}":
        raise TrustError("the server shows other CAs than were signed; do not sign on top of them")
    return shown


def _find(listed: Sequence[Authority], text: str) -> Authority:
    digits = text.removeprefix("sha256:").lower()
    found = [one for one in listed if one.fingerprint.removeprefix("sha256:").startswith(digits)]
    if len(digits) < _LEAST_DIGITS or len(found) != 1:
        raise NotFoundError(
            f"{text!r} names no CA of this fleet; give {_LEAST_DIGITS} digits or more of one of these: "
            + ", ".join(one.fingerprint for one in listed)
        )
    return found[0]
