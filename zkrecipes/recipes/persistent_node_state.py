"""Decides the next step of a persistent node from a frozen `KnownState` of its znode. Pure.

`persistent_node_writer` owns the state, executes the steps and records their outcomes with the methods here.
"""

# The problem. One path must have one ephemeral znode of ours with the newest data, across sessions. Every
# reply may be lost; another client may hold the name, delete our znode or write to it; and the znode of an
# ended session may stay visible for a while. The owner does not identify our znode: two persistent nodes of
# one client have the same session. The data do not identify it either: another client may write the same
# bytes.
#
# The trick. The zxid of its creation (czxid) identifies a znode, and the reply to the create carries it.
# While such a reply is missing, the create is *unsettled*: then a znode is ours if its owner is the session
# of the newest create, and no other persistent node of this client claims its czxid.
#
# The consequences.
#
# - A set names the version that was seen last. After a set without an answer the version is unknown, and the
#   next step is a look. So data that another client wrote stay until the next update, and no set changes a
#   znode of another client.
# - A look follows each write. It sets the watch, and shows whether the znode is still the same one.
# - After a create was refused because the name is taken, only the end of that znode makes another create
#   worthwhile: writes to it change nothing.
# - When a session ends, its unsettled creates are forgotten. The ids of the last sessions are remembered:
#   znodes of these sessions are our leftovers, and are replaced immediately.

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias, final

from zkrecipes.client.recipe_api import Stat

__all__ = [
    "DataVersion",
    "KnownState",
    "Look",
    "OnConflict",
    "Step",
    "is_ours",
    "next_step",
    "step_after_look",
]

OnConflict: TypeAlias = Literal["wait", "raise", "replace"]
"""The reaction of a persistent node to another session that holds its name."""

_OLD_SESSIONS_MAX: Final = 16


class Step(Enum):
    """A step of the writer."""

    CREATE = "create the znode"
    SET = "write the wanted data"
    LOOK = "read the znode's stat, and watch it; `step_after_look` decides the next step"

    WAIT_FOR_CHANGE = "our znode has the wanted data: wait until it changes, or an update"
    PUT_BACK = "our znode does not exist: create it again"
    ADOPT = "an unsettled create has made this znode: it is ours"
    INHERIT = "an earlier client of this resumed session left this znode: take it over, and write the data"
    REPLACE = "delete the other znode, if it has not changed"
    REFUSE = "raise `NodeExistsError`"
    WAIT_FOR_NAME = "wait until the other znode changes; with `replace`, for a second at most"


@final
@dataclass(frozen=True, slots=True, eq=False)
class DataVersion:
    """The data of one update; compared by identity, because two updates may write the same bytes."""

    number: int
    data: bytes


class Look(NamedTuple):
    """The result of a look, and the facts that the client knows about that znode."""

    stat: Stat | None
    is_session_over: bool = False
    """Whether the session of the newest create has ended."""
    is_owned: bool = False
    """Whether the session of the newest create owns it."""
    is_claimed: bool = False
    """Whether a persistent node of this client claims it by its czxid."""
    is_leftover: bool = False
    """Whether an earlier client of the current session, which was resumed, created it."""
    is_undeletable: bool = False
    """Whether an earlier block of this client was left, and could not delete it because of an ACL."""


_SEVERAL: Final = DataVersion(-1, b"")
"""A placeholder for the data of unsettled creates that carried different data."""


@final
@dataclass(frozen=True, slots=True)
class KnownState:
    """The known state of one persistent node's znode."""

    wanted: DataVersion
    """The data of the newest update."""
    written: DataVersion | None = None
    """The data that were written last; None before the first write."""
    czxid: int | None = None
    """The czxid of our znode; None while no znode is known to be ours."""
    version: int | None = None
    """The version of our znode's data; None if a look must find it."""
    is_look_due: bool = False
    """Whether our znode has been written since the last look."""
    attempted: DataVersion | None = None
    """The data of the newest create."""
    unsettled: DataVersion | None = None
    """The data of the creates whose outcome is unknown; None if no create is unsettled."""
    is_taken: bool = False
    """Whether the newest create found the name taken."""
    taken_by: int | None = None
    """The czxid of the znode whose end the writer waits for."""
    reported: int = 0
    """The czxid of the other znode that was logged last."""
    old_sessions: tuple[int, ...] = ()
    """The ids of the last sessions in which the znode was created."""

    @property
    def has_one_unsettled(self) -> bool:
        """Whether there are unsettled creates, and all of them carried the data of the newest create."""
        return self.unsettled is not None and self.unsettled is self.attempted

    def after_session_change(self, old_session_id: int) -> KnownState:
        """Return the state in a new session. The old session, if its id is not 0, may still own our znode."""
        old = (*self.old_sessions, old_session_id) if old_session_id != 0 else self.old_sessions
        return replace(self, unsettled=None, old_sessions=old[-_OLD_SESSIONS_MAX:])

    def while_creating(self) -> KnownState:
        """Return the state after a create with the wanted data was sent."""
        unsettled = self.wanted if self.unsettled in (None, self.wanted) else _SEVERAL
        return replace(self, attempted=self.wanted, unsettled=unsettled)

    def after_refused_create(self, before: KnownState, *, is_taken: bool = False) -> KnownState:
        """Return the state after a create that changed nothing; `before` is the state before it was sent."""
        return replace(self, unsettled=before.unsettled, is_taken=is_taken)

    def after_create(self, czxid: int) -> KnownState:
        """Return the state after a create was applied."""
        return _with_znode(replace(self, written=self.attempted, unsettled=None), czxid, 0)

    def after_adoption(self, stat: Stat) -> KnownState:
        """Return the state after a look has shown that this znode is ours."""
        written = self.attempted if self.has_one_unsettled else self.written
        return _with_znode(replace(self, written=written, unsettled=None), stat.czxid, stat.version)

    def after_set(self, data: DataVersion, version: int) -> KnownState:
        """Return the state after a set was applied."""
        return replace(self, written=data, version=version, is_look_due=True)

    def after_rejection(self, data: DataVersion) -> KnownState:
        """Return the state after the server refused `data`; the data written last become the wanted data."""
        assert self.written is not None
        return replace(self, wanted=self.written if self.wanted is data else self.wanted)

    def without_znode(self) -> KnownState:
        """Return the state in which no znode is ours."""
        return replace(self, czxid=None, version=None)

    def while_waiting_for(self, stat: Stat) -> KnownState:
        """Return the state after another client's znode was logged; the writer waits for its end."""
        return replace(self, taken_by=stat.czxid, reported=stat.czxid)

    def before_next_create(self) -> KnownState:
        """Return the state in which another create is worthwhile, because the name may be free."""
        return replace(self, is_taken=False, taken_by=None)


def _with_znode(known: KnownState, czxid: int, version: int) -> KnownState:
    return replace(known.before_next_create(), czxid=czxid, version=version, is_look_due=True)


def next_step(known: KnownState) -> Step:
    """Return CREATE, SET or LOOK."""
    if known.czxid is None:
        return Step.LOOK if known.is_taken else Step.CREATE
    if known.is_look_due or known.version is None or known.written is known.wanted:
        return Step.LOOK
    return Step.SET


def step_after_look(known: KnownState, look: Look, on_conflict: OnConflict) -> Step:
    """Return the step after a look at our znode or, if the name is taken, at the znode with that name."""
    if known.czxid is None:
        return _step_for_name(known, look, on_conflict)
    stat = look.stat
    if stat is None or stat.czxid != known.czxid or look.is_session_over:
        return Step.PUT_BACK
    return Step.WAIT_FOR_CHANGE if known.written is known.wanted else Step.SET


def _step_for_name(known: KnownState, look: Look, on_conflict: OnConflict) -> Step:
    stat = look.stat
    if stat is None or known.taken_by not in (None, stat.czxid):
        return Step.CREATE
    if is_ours(known, look):
        return Step.ADOPT
    if look.is_leftover and not look.is_claimed:
        return Step.INHERIT
    if _may_replace(known, look, stat, on_conflict):
        return Step.REPLACE
    is_refused = on_conflict == "raise" and known.written is None
    return Step.REFUSE if is_refused else Step.WAIT_FOR_NAME


def is_ours(known: KnownState, look: Look) -> bool:
    """Whether the znode shown by a look belongs to this persistent node."""
    if look.stat is None:
        return False
    if known.czxid is not None:
        return look.stat.czxid == known.czxid
    return known.unsettled is not None and look.is_owned and not look.is_claimed


def _may_replace(known: KnownState, look: Look, stat: Stat, on_conflict: OnConflict) -> bool:
    if stat.ephemeral_owner in known.old_sessions or look.is_undeletable:
        return True
    if on_conflict != "replace":
        return False
    # A znode that has replaced ours stays for a second, so that two clients do not replace each other's
    # znodes in a tight loop.
    return known.written is None or stat.czxid == known.reported
