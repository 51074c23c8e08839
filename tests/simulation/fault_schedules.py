"""The schedules of faults: one random, and fourteen aimed at the weak spots of rules for holds.

A schedule is called once, when the ensemble serves and the holder is attached, and plans faults from then on.
Most end with the holder and its server alone (`corner`), because only a session that ends can show a
violation.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from tests.simulation.ensemble_model import Operation
from tests.simulation.holder_model import NAME as HOLDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.hold_model import World


def corner(world: World) -> None:
    """Isolate the holder and its server from now on."""
    server = world.holder.server
    for other in world.network.machines:
        if other not in {HOLDER, server}:
            world.network.cut(HOLDER, other)
            if server is not None:
                world.network.cut(server, other)


def cut_holder_from_others(world: World, moment: Callable[[], float]) -> None:
    """Cut the holder from the other servers, from each at a different time."""
    for other in world.network.machines:
        if other not in {HOLDER, world.first}:
            world.after(moment(), partial(world.network.cut, HOLDER, other))


def at_random(world: World) -> None:
    """Cut links in one or both directions, and isolate, crash and restart servers, at any time."""
    rng, timeout = world.rng, world.timeout
    moment = 0.0
    while moment < 3 * timeout:
        moment += rng.expovariate(rng.choice((2, 4, 8)) / timeout)
        lasts = rng.choice((1, 0.5, 2)) * rng.uniform(0, timeout)
        _one_random_fault(world, moment, lasts)
    world.after(moment, partial(corner, world))


def _one_random_fault(world: World, moment: float, lasts: float) -> None:
    rng, network = world.rng, world.network
    servers = [server.name for server in world.ensemble.servers]
    one = rng.choice(servers)
    other = rng.choice([name for name in (*servers, HOLDER) if name != one])
    kind = rng.random()
    if kind < 0.35:
        world.after(moment, partial(network.cut, one, other))
        world.after(moment + lasts, partial(network.heal, one, other))
    elif kind < 0.6:
        source, target = rng.choice(((one, other), (other, one)))
        world.after(moment, partial(network.block, source, target))
        world.after(moment + lasts, partial(network.unblock, source, target))
    elif kind < 0.75:
        for each in (*servers, HOLDER):
            if each != one and (each != HOLDER or rng.random() < 0.5):
                world.after(moment, partial(network.cut, one, each))
                world.after(moment + lasts, partial(network.heal, one, each))
    elif kind < 0.9:
        silently = rng.random() < 0.5
        server = world.ensemble.server(one)
        world.after(moment, partial(server.crash, silently=silently))
        world.after(moment + rng.choice((0.001, 0.05, lasts)), server.restart)
    else:
        world.after(moment, partial(corner, world))


def cornered(world: World) -> None:
    world.after(world.rng.uniform(0, world.timeout), partial(corner, world))


def _check_and_leave(world: World) -> float:
    """Return the time from an answered check until the holder leaves a server that stopped answering."""
    return (world.holder.check_every + world.holder.leave_after) * world.timeout


def flap(world: World) -> None:
    """Stall the link of the holder's server to the leader, heal it, and cut it permanently."""
    rng, network, leader, first = world.rng, world.network, world.leader, world.first
    stalls_at = rng.uniform(0, world.timeout / 2)
    heals_at = stalls_at + rng.uniform(0.1, 1.1) * _check_and_leave(world)
    if rng.random() < 0.5:
        world.after(stalls_at, partial(network.cut, leader, first))
        world.after(heals_at, partial(network.heal, leader, first))
    else:
        world.after(stalls_at, partial(network.block, leader, first))
        world.after(heals_at, partial(network.unblock, leader, first))
    cut_holder_from_others(world, lambda: rng.uniform(stalls_at, heals_at))
    stays_up = rng.uniform(0, rng.choice((3, 5, 10, 20)) * world.settings.delay_max / 2)
    world.after(heals_at + stays_up, partial(network.isolate, first, except_from=(HOLDER,)))


def flap_forward(world: World) -> None:
    """Flap, but stall only messages to the server, and lose only those from it, in the stall or after it."""
    rng, network, leader, first = world.rng, world.network, world.leader, world.first
    stalls_at = rng.uniform(0, world.timeout / 2)
    heals_at = stalls_at + rng.uniform(0.3, 1.0) * _check_and_leave(world)
    world.after(stalls_at, partial(network.block, leader, first))
    world.after(heals_at, partial(network.unblock, leader, first))
    stays_up = rng.choice((2 * world.settings.delay_max, stalls_at - heals_at)) * rng.uniform(0, 1)
    world.after(heals_at + stays_up, partial(network.block, first, leader))
    cut_holder_from_others(world, lambda: stalls_at)


def adaptive(world: World) -> None:
    """Act as an adversary that watches the answers.

    A stall starts just after an answer and ends just before the holder would leave. After this many more
    answers, the holder and its server are isolated.
    """
    rng, network, first = world.rng, world.network, world.first
    delay_max = world.settings.delay_max
    kind = rng.choice(
        ("down", "down", "both", "up", "leader", "server", "client", "client up", "client down")
    )
    links = _links_to_stall(world, kind)
    answers_before, answers_after = rng.randrange(1, 8), rng.choice((1, 1, 2, 2, *range(3, 11)))
    check_every, leave_after = (
        world.holder.check_every * world.timeout,
        world.holder.leave_after * world.timeout,
    )
    lag = rng.choice((0.0, 0.0, rng.uniform(0, delay_max), rng.uniform(0, check_every)))
    counts_reads = rng.random() < 0.5
    seen_before = seen_after = 0
    is_healed = False

    def heal() -> None:
        nonlocal is_healed
        is_healed = True
        _for_all(links, network.unblock)

    def stall(sent_at: float) -> None:
        _for_all(links, network.block)
        next_check = max(sent_at + check_every, network.now)
        leaves_at = next_check + leave_after * rng.choice((1.0, rng.uniform(0, 1)))
        lasts = max(0.0, leaves_at - network.now - rng.uniform(0, 6 * delay_max))
        if kind in {"leader", "server"}:
            network.machines[world.leader if kind == "leader" else first].pause(lasts)
        world.after(lasts, heal)
        cut_holder_from_others(world, lambda: 0.0)

    def on_answer(sent_at: float, operation: Operation) -> None:
        nonlocal seen_before, seen_after
        if not counts_reads and not operation.is_quorum:
            return
        seen_before += 1
        if seen_before == answers_before:
            world.after(rng.choice((0.0, lag)), lambda: stall(sent_at))
        elif is_healed:
            seen_after += 1
            if seen_after == answers_after:
                world.after(lag, partial(network.isolate, first, except_from=(HOLDER,)))

    world.holder.on_answer = on_answer
    world.after(4 * world.timeout, partial(corner, world))


def _links_to_stall(world: World, kind: str) -> list[tuple[str, str]]:
    leader, first = world.leader, world.first
    down, up = [(leader, first)], [(first, leader)]
    if leader == first:
        down = up = [(leader, follower) for follower in world.followers]
    return {
        "down": down,
        "up": up,
        "both": down + up,
        "client": [(HOLDER, first), (first, HOLDER)],
        "client up": [(HOLDER, first)],
        "client down": [(first, HOLDER)],
    }.get(kind, [])


def _for_all(links: list[tuple[str, str]], change: Callable[[str, str], None]) -> None:
    for source, target in links:
        change(source, target)


def client_stall(world: World) -> None:
    """Stall the holder's link to its server from just after an answer until just before it would leave.

    Both are cut from the rest before the leader's next ping has fetched the new touches.
    """
    rng, network, first, holder = world.rng, world.network, world.first, world.holder
    answers_before = rng.randrange(1, 8)
    seen = 0

    def on_answer(sent_at: float, operation: Operation) -> None:
        nonlocal seen
        seen += 1
        if seen != answers_before:
            return
        for other in network.machines:
            if other != HOLDER:
                network.cut(HOLDER, other)
        ratio = holder.check_every * rng.choice((1, 1, 0)) + holder.leave_after * rng.choice(
            (1, 1, rng.random())
        )
        early = rng.uniform(1, 4) * (world.settings.delay_max + world.settings.timer_late_max)
        lasts = max(0.0, ratio * world.timeout - early)
        world.after(lasts, partial(network.heal, HOLDER, first))
        until_ping = rng.uniform(0, 1.1) * world.settings.tick / 2
        world.after(lasts + until_ping, partial(network.isolate, first, except_from=(HOLDER,)))

    world.holder.on_answer = on_answer
    world.after(4 * world.timeout, partial(corner, world))


def fresh_hold(world: World) -> None:
    """Take the lock while the link of its server to the leader stalls and the server continues to answer.

    The link heals just before the leader would expire the session, and is cut permanently after one or two
    answered writes, so that a new hold has a stale proof.
    """
    rng, network, leader, first = world.rng, world.network, world.leader, world.first
    links = rng.choice(([(leader, first)], [(first, leader)], [(leader, first), (first, leader)]))
    answers_after = rng.choice((1, 2, 2, 3, 3, 4, 5))
    lag = rng.choice((0.0, rng.uniform(0, world.settings.delay_max), rng.uniform(0, world.settings.tick)))
    is_healed = False
    seen = 0

    def stall() -> None:
        _for_all(links, network.block)
        left = world.ensemble.touched_at + world.timeout - network.now
        lasts = left * rng.choice((1.0, rng.random(), 0.0)) - rng.uniform(0, 6) * world.settings.delay_max
        world.after(lasts, heal)
        world.after(lasts * rng.random(), world.holder.take_lock)

    def heal() -> None:
        nonlocal is_healed
        is_healed = True
        _for_all(links, network.unblock)

    def on_answer(sent_at: float, operation: Operation) -> None:
        nonlocal seen
        if is_healed and operation.is_quorum:
            seen += 1
            if seen == answers_after:
                world.after(lag, partial(network.isolate, first, except_from=(HOLDER,)))

    _stall_alone(world, stall)
    world.holder.on_answer = on_answer


def last_word(world: World) -> None:
    """Take the lock while the holder's server hears nothing from its leader but still answers pings.

    The first write (or a later one) is the last message that the leader gets from that server. The leader's
    messages from that time then arrive, including the commit of that write; the answers to its pings are
    lost.
    """
    rng, network, leader, first = world.rng, world.network, world.leader, world.first
    writes_through = rng.choice((1, 1, 1, 2, 3))
    seen = 0
    is_stalled = False

    def stall() -> None:
        nonlocal is_stalled
        is_stalled = True
        network.block(leader, first)
        left = world.ensemble.touched_at + world.timeout - network.now
        world.after(left * rng.choice((0.95, rng.random())), world.holder.take_lock)

    def on_request(operation: Operation) -> None:
        nonlocal seen
        if is_stalled and operation.is_quorum:
            seen += 1
            if seen == writes_through:
                lag = rng.uniform(0, 4) * world.settings.delay_max
                world.after(lag, partial(network.block, first, leader))
                world.after(lag * rng.random() * 2, partial(network.unblock, leader, first))

    _stall_alone(world, stall)
    world.holder.on_request = on_request


def _stall_alone(world: World, stall: Callable[[], None]) -> None:
    stalls_at = world.rng.uniform(0, world.timeout)
    world.after(stalls_at, stall)
    cut_holder_from_others(world, lambda: stalls_at)
    world.after(4 * world.timeout, partial(corner, world))


def leader_cut(world: World) -> None:
    """Cut the leader from its followers, and the holder from all servers but the leader."""
    moment = world.rng.uniform(0, world.timeout / 2)
    world.after(moment, partial(world.network.isolate, world.leader, except_from=(HOLDER,)))
    for other in world.followers:
        world.network.cut(HOLDER, other)


def leader_cut_staggered(world: World) -> None:
    """Cut followers from the leader one after another; restart the last ones, which vote immediately."""
    rng, network = world.rng, world.network
    moment = rng.uniform(0, world.timeout / 2)
    middle = len(world.followers) // 2
    for other in world.followers:
        network.cut(HOLDER, other)
    for other in world.followers[:middle]:
        world.after(moment, partial(network.cut, world.leader, other))
    moment += rng.choice(
        (rng.uniform(0, world.timeout), (world.settings.sync_limit + 1) * world.settings.tick)
    )
    for other in world.followers[middle:]:
        world.after(moment, partial(network.cut, world.leader, other))
        _restart_at(world, other, moment + 0.00001, moment + 0.001 + rng.uniform(0, 0.02))


def vote_at_once(world: World) -> None:
    """Cut the leader off, and restart the followers that acknowledged the newest check, which then vote."""
    rng, network = world.rng, world.network
    moment = rng.uniform(0, world.timeout)
    world.after(moment, partial(network.isolate, world.leader, except_from=(HOLDER,)))
    for other in world.followers:
        world.after(moment, partial(network.cut, HOLDER, other))
        _restart_at(world, other, moment + rng.uniform(0, 0.005), moment + 0.006 + rng.uniform(0, 0.005))


def _restart_at(world: World, name: str, crash: float, restart: float) -> None:
    server = world.ensemble.server(name)
    world.after(crash, partial(server.crash, silently=True))
    world.after(restart, server.restart)


def follower_cut(world: World) -> None:
    """Cut the holder's server from its peers, and usually the holder from the other servers."""
    moment = world.rng.uniform(0, world.timeout / 2)
    world.after(moment, partial(world.network.isolate, world.first, except_from=(HOLDER,)))
    if world.rng.random() < 0.7:
        cut_holder_from_others(world, lambda: 0.0)


def hop(world: World) -> None:
    """Silence each server of the holder after a while, and finally isolate the holder with one."""
    rng, network = world.rng, world.network

    def hop_on(hops: int) -> None:
        server = world.holder.server
        if hops == 0 or server is None:
            corner(world)
            return
        network.cut(HOLDER, server)
        world.after(rng.uniform(0.2, 1) * world.timeout, partial(network.heal, HOLDER, server))
        world.after(rng.uniform(0.1, 0.5) * world.timeout, lambda: hop_on(hops - 1))

    hop_on(rng.randrange(1, 6))


def leader_pause(world: World) -> None:
    _pause(world, world.leader)


def follower_pause(world: World) -> None:
    _pause(world, world.first)


def _pause(world: World, name: str) -> None:
    rng = world.rng
    moment, lasts = rng.uniform(0, world.timeout / 2), rng.uniform(0.05, 1.5) * world.timeout
    world.after(moment, lambda: world.network.machines[name].pause(lasts))
    if rng.random() < 0.7:
        world.after(moment + lasts + rng.uniform(0, 4 * world.settings.delay_max), partial(corner, world))


AIMED: dict[str, Callable[[World], None]] = {
    "adaptive": adaptive,
    "client_stall": client_stall,
    "corner": cornered,
    "flap": flap,
    "flap_forward": flap_forward,
    "follower_cut": follower_cut,
    "follower_pause": follower_pause,
    "fresh_hold": fresh_hold,
    "hop": hop,
    "last_word": last_word,
    "leader_cut": leader_cut,
    "leader_cut_staggered": leader_cut_staggered,
    "leader_pause": leader_pause,
    "vote_at_once": vote_at_once,
}

TELLING_WHEN_TO_LOCK = frozenset({"fresh_hold", "last_word"})

SCHEDULES: dict[str, Callable[[World], None]] = {"random": at_random, **AIMED}
