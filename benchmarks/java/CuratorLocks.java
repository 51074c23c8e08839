import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.retry.ExponentialBackoffRetry;

/** Threads take one InterProcessMutex in turns: CONNECT PATH CLIENTS THREADS TIMES. */
public final class CuratorLocks {
    private static final List<Long> HAND_OFFS = Collections.synchronizedList(new ArrayList<>());
    private static volatile long letGoAt;

    public static void main(String[] args) throws Exception {
        int threads = Integer.parseInt(args[3]);
        int times = Integer.parseInt(args[4]);
        List<CuratorFramework> clients = new ArrayList<>();
        for (int number = 0; number < Integer.parseInt(args[2]); number++) {
            CuratorFramework client =
                    CuratorFrameworkFactory.newClient(args[0], 10_000, 10_000, new ExponentialBackoffRetry(100, 3));
            client.start();
            client.blockUntilConnected();
            clients.add(client);
        }
        // A cold virtual machine runs at a fraction of its speed.
        takeTurns(clients, args[1], threads, times);
        HAND_OFFS.clear();
        long cpu = cpuTime();
        long begun = System.nanoTime();
        takeTurns(clients, args[1], threads, times);
        double seconds = (System.nanoTime() - begun) / 1e9;
        double cpuPer1000 = (cpuTime() - cpu) / 1e6 / times * 1000;
        Collections.sort(HAND_OFFS);
        String median = threads == 1 ? "" : ", \"p50_us\": " + HAND_OFFS.get(HAND_OFFS.size() / 2) / 1e3;
        System.out.println(
                String.format(
                        Locale.ROOT,
                        "{\"per_second\": %f, \"cpu_ms_per_1000\": %f%s}",
                        times / seconds,
                        cpuPer1000,
                        median));
        for (CuratorFramework client : clients) {
            client.close();
        }
    }

    private static void takeTurns(List<CuratorFramework> clients, String path, int threads, int times)
            throws Exception {
        List<Thread> running = new ArrayList<>();
        for (int number = 0; number < threads; number++) {
            InterProcessMutex mutex = new InterProcessMutex(clients.get(number % clients.size()), path);
            Thread thread = new Thread(() -> takeTurns(mutex, times / threads));
            thread.start();
            running.add(thread);
        }
        for (Thread thread : running) {
            thread.join();
        }
    }

    private static void takeTurns(InterProcessMutex mutex, int times) {
        try {
            for (int turn = 0; turn < times; turn++) {
                mutex.acquire();
                HAND_OFFS.add(System.nanoTime() - letGoAt);
                letGoAt = System.nanoTime();
                mutex.release();
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static long cpuTime() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getProcessCpuTime();
    }
}
