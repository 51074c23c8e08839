import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.nodes.GroupMember;

/**
 * The commands of Curator's classes. `[SECONDS]` limits the wait; without it the wait has no limit, and if the time is
 * too short the answer is false.
 */
final class Recipes {
    static final List<String> NAMES = Collections.unmodifiableList(Arrays.asList(
            "InterProcessMutex",
            "InterProcessReadWriteLock",
            "InterProcessSemaphoreV2",
            "LeaderLatch",
            "LeaderSelector",
            "GroupMember",
            "DistributedBarrier",
            "DistributedDoubleBarrier"));

    private static final double FOR_EVER = 1e6;

    private Recipes() {}

    static Recipe make(String name, CuratorFramework client, List<String> words) {
        String path = words.get(0);
        switch (name) {
            case "InterProcessMutex":
                return mutex(words.size() < 2 ? new InterProcessMutex(client, path) : named(client, path, words.get(1)));
            case "InterProcessReadWriteLock":
                return readWriteLock(words.size() < 2
                        ? new InterProcessReadWriteLock(client, path)
                        : new InterProcessReadWriteLock(client, path, bytes(words.get(1))));
            case "InterProcessSemaphoreV2":
                InterProcessSemaphoreV2 semaphore = new InterProcessSemaphoreV2(client, path, Integer.parseInt(words.get(1)));
                if (words.size() > 2) {
                    semaphore.setNodeData(bytes(words.get(2)));
                }
                return semaphore(semaphore);
            case "LeaderLatch":
                return latch(new LeaderLatch(client, path, words.get(1)));
            case "LeaderSelector":
                return selector(client, path, words.get(1));
            case "GroupMember":
                return member(new GroupMember(client, path, words.get(1), bytes(words.get(2))));
            case "DistributedBarrier":
                return barrier(new DistributedBarrier(client, path));
            case "DistributedDoubleBarrier":
                return doubleBarrier(new DistributedDoubleBarrier(client, path, Integer.parseInt(words.get(1))));
            default:
                throw new IllegalArgumentException(name);
        }
    }

    /** PATH [DATA]: DATA is the znode's, which is the client's address otherwise. */
    private static Recipe mutex(InterProcessMutex mutex) {
        Semaphore revocations = new Semaphore(0);
        return new Recipe()
                .inTurn("acquire", words -> mutex.acquire(millis(words, 0), TimeUnit.MILLISECONDS))
                .inTurn("release", words -> nothing(mutex::release))
                .inTurn("make-revocable", words -> nothing(() -> mutex.makeRevocable(lock -> revocations.release())))
                // [SECONDS]: wait until another client asked for the lock, once for each request
                .atOnce("await-revocation", words -> tryAcquire(revocations, words, 0))
                .atOnce("is-acquired", words -> mutex.isAcquiredInThisProcess())
                .atOnce("participants", words -> mutex.getParticipantNodes());
    }

    private static InterProcessMutex named(CuratorFramework client, String path, String data) {
        return new InterProcessMutex(client, path) {
            @Override
            protected byte[] getLockNodeBytes() {
                return bytes(data);
            }
        };
    }

    /** PATH [DATA]. */
    private static Recipe readWriteLock(InterProcessReadWriteLock lock) {
        return new Recipe()
                .inTurn("acquire-read", words -> lock.readLock().acquire(millis(words, 0), TimeUnit.MILLISECONDS))
                .inTurn("release-read", words -> nothing(lock.readLock()::release))
                .inTurn("acquire-write", words -> lock.writeLock().acquire(millis(words, 0), TimeUnit.MILLISECONDS))
                .inTurn("release-write", words -> nothing(lock.writeLock()::release))
                .atOnce("readers", words -> lock.readLock().getParticipantNodes())
                .atOnce("writers", words -> lock.writeLock().getParticipantNodes());
    }

    /** PATH LIMIT [DATA]. */
    private static Recipe semaphore(InterProcessSemaphoreV2 semaphore) {
        Deque<Lease> leases = new ArrayDeque<>();
        return new Recipe()
                // COUNT [SECONDS]: all or none
                .inTurn("acquire", words -> {
                    Collection<Lease> more =
                            semaphore.acquire(Integer.parseInt(words.get(0)), millis(words, 1), TimeUnit.MILLISECONDS);
                    if (more != null) {
                        leases.addAll(more);
                    }
                    return more != null;
                })
                // COUNT: release the oldest
                .inTurn("return", words -> nothing(() -> {
                    for (int left = Integer.parseInt(words.get(0)); left > 0; left--) {
                        semaphore.returnLease(leases.remove());
                    }
                }))
                .atOnce("participants", words -> semaphore.getParticipantNodes());
    }

    /** PATH ID. */
    private static Recipe latch(LeaderLatch latch) {
        return new Recipe()
                .inTurn("start", words -> nothing(latch::start))
                .inTurn("await", words -> latch.await(millis(words, 0), TimeUnit.MILLISECONDS))
                .inTurn("close", words -> nothing(latch::close))
                .atOnce("has-leadership", words -> latch.hasLeadership())
                .atOnce("leader", words -> latch.getLeader().getId())
                .atOnce("participants", words -> ids(latch.getParticipants()));
    }

    /** PATH ID. It leads until the command `relinquish`. */
    private static Recipe selector(CuratorFramework client, String path, String id) {
        Semaphore elections = new Semaphore(0);
        Semaphore resignations = new Semaphore(0);
        LeaderSelector selector = new LeaderSelector(client, path, new LeaderSelectorListenerAdapter() {
            @Override
            public void takeLeadership(CuratorFramework unused) throws InterruptedException {
                elections.release();
                resignations.acquire();
            }
        });
        selector.setId(id);
        return new Recipe()
                .inTurn("start", words -> nothing(selector::start))
                .inTurn("requeue", words -> selector.requeue())
                .inTurn("close", words -> nothing(selector::close))
                // [SECONDS]: wait until it leads, once for each leadership
                .inTurn("await", words -> tryAcquire(elections, words, 0))
                .atOnce("has-leadership", words -> selector.hasLeadership())
                .atOnce("relinquish", words -> nothing(resignations::release))
                .atOnce("interrupt-leadership", words -> nothing(selector::interruptLeadership))
                .atOnce("leader", words -> selector.getLeader().getId())
                .atOnce("participants", words -> ids(selector.getParticipants()));
    }

    /** PATH ID DATA. */
    private static Recipe member(GroupMember member) {
        return new Recipe()
                .inTurn("start", words -> nothing(member::start))
                .inTurn("set-data", words -> nothing(() -> member.setThisData(bytes(words.get(0)))))
                .inTurn("close", words -> nothing(member::close))
                .atOnce("members", words -> {
                    Map<String, String> members = new TreeMap<>();
                    member.getCurrentMembers().forEach((id, data) -> members.put(id, text(data)));
                    return members;
                });
    }

    /** PATH. */
    private static Recipe barrier(DistributedBarrier barrier) {
        return new Recipe()
                .atOnce("set", words -> nothing(barrier::setBarrier))
                .inTurn("wait", words -> barrier.waitOnBarrier(millis(words, 0), TimeUnit.MILLISECONDS))
                .atOnce("remove", words -> nothing(barrier::removeBarrier));
    }

    /** PATH COUNT. */
    private static Recipe doubleBarrier(DistributedDoubleBarrier barrier) {
        return new Recipe()
                .inTurn("enter", words -> barrier.enter(millis(words, 0), TimeUnit.MILLISECONDS))
                .inTurn("leave", words -> barrier.leave(millis(words, 0), TimeUnit.MILLISECONDS));
    }

    private interface Act {
        void run() throws Exception;
    }

    private static Object nothing(Act act) throws Exception {
        act.run();
        return null;
    }

    private static boolean tryAcquire(Semaphore semaphore, List<String> words, int index) throws InterruptedException {
        return semaphore.tryAcquire(millis(words, index), TimeUnit.MILLISECONDS);
    }

    private static long millis(List<String> words, int index) {
        double seconds = words.size() > index ? Double.parseDouble(words.get(index)) : FOR_EVER;
        return Math.round(seconds * 1000);
    }

    private static List<String> ids(Collection<Participant> participants) {
        List<String> ids = new ArrayList<>();
        participants.forEach(participant -> ids.add(participant.getId()));
        return ids;
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String text(byte[] bytes) {
        return new String(bytes, StandardCharsets.UTF_8);
    }
}
