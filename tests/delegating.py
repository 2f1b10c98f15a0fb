"""Delegates as a person does it, in one call: a draft, signed with the keys at hand, submitted to the repository."""

from collections.abc import Collection, Mapping
from datetime import datetime

from edgeops.trust.change import sign
from edgeops.trust.delegation import Delegation, role_of
from edgeops.trust.draft import Draft
from edgeops.trust.repository import Repository


def delegate(
    repository: Repository, model: str, now: datetime, *, alongside: Mapping[str, bytes] | None = None
) -> Delegation:
    """Let a new key of the server sign `models/<model>/auto/*`; `alongside` is listed in the same change."""
    draft = Draft(repository.base(), now)
    draft.delegate(model, repository.prepare_key(role_of(model)))
    draft.list(alongside or {})
    _submit(repository, draft, now)
    return repository.delegations()[model]


def undelegate(repository: Repository, model: str, now: datetime, *, alongside: Collection[str] = ()) -> None:
    """Take that back; `alongside` is listed no longer."""
    draft = Draft(repository.base(), now)
    draft.undelegate(model)
    draft.unlist(alongside)
    _submit(repository, draft, now)


def _submit(repository: Repository, draft: Draft, now: datetime) -> None:
    change = draft.finish()
    sign(change, repository._publication.signers)
    repository.submit(change, now)
