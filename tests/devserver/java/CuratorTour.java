import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicValue;
import org.apache.curator.framework.recipes.atomic.PromotedToLock;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.framework.recipes.nodes.PersistentTtlNode;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedIdQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.watch.PersistentWatcher;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.CreateMode;

/**
 * Those of Curator's recipes that zkrecipes has no counterpart of, between two clients. The argument is the connect
 * string. For each recipe there is one line: NAME ok, or NAME and what went wrong.
 */
public final class CuratorTour {
    private static final long PATIENCE_MS = 10_000;

    private interface Stop {
        void run() throws Exception;
    }

    private final CuratorFramework one;
    private final CuratorFramework two;

    private CuratorTour(CuratorFramework one, CuratorFramework two) {
        this.one = one;
        this.two = two;
    }

    public static void main(String[] arguments) throws Exception {
        try (CuratorFramework one = connected(arguments[0]); CuratorFramework two = connected(arguments[0])) {
            for (Map.Entry<String, Stop> stop : new CuratorTour(one, two).stops().entrySet()) {
                try {
                    stop.getValue().run();
                    System.out.println(stop.getKey() + " ok");
                } catch (Exception | AssertionError error) {
                    System.out.println(stop.getKey() + " " + error);
                    error.printStackTrace();
                }
            }
        }
        System.exit(0); // some recipes leave threads behind
    }

    private static CuratorFramework connected(String hosts) {
        CuratorFramework client = CuratorFrameworkFactory.newClient(hosts, 10_000, 10_000, patiently());
        client.start();
        return client;
    }

    private static ExponentialBackoffRetry patiently() {
        return new ExponentialBackoffRetry(10, 10);
    }

    private Map<String, Stop> stops() {
        Map<String, Stop> stops = new TreeMap<>();
        stops.put("CuratorCache", this::curatorCache);
        stops.put("DistributedAtomicLong", this::atomicLong);
        stops.put("DistributedAtomicValue", this::atomicValue);
        stops.put("DistributedDelayQueue", this::delayQueue);
        stops.put("DistributedIdQueue", this::idQueue);
        stops.put("DistributedPriorityQueue", this::priorityQueue);
        stops.put("DistributedQueue", this::queue);
        stops.put("InterProcessMultiLock", this::multiLock);
        stops.put("InterProcessSemaphoreMutex", this::semaphoreMutex);
        stops.put("NodeCache", this::nodeCache);
        stops.put("PathChildrenCache", this::pathChildrenCache);
        stops.put("PersistentNode", this::persistentNode);
        stops.put("PersistentTtlNode", this::persistentTtlNode);
        stops.put("PersistentWatcher", this::persistentWatcher);
        stops.put("SharedCount", this::sharedCount);
        stops.put("SharedValue", this::sharedValue);
        stops.put("SimpleDistributedQueue", this::simpleQueue);
        stops.put("TreeCache", this::treeCache);
        return stops;
    }

    // --- caches and watchers ----------------------------------------------------------------------------------

    private void curatorCache() throws Exception {
        try (CuratorCache cache = CuratorCache.build(one, "/cache")) {
            cache.start();
            change("/cache");
            until(() -> cache.size() == 3 && is("new", cache.get("/cache/a").orElseThrow().getData()));
            two.delete().forPath("/cache/a/b");
            until(() -> cache.get("/cache/a/b").isEmpty());
        }
    }

    private void treeCache() throws Exception {
        try (TreeCache cache = new TreeCache(one, "/tree")) {
            cache.start();
            change("/tree");
            until(() -> cache.getCurrentData("/tree/a") != null);
            until(() -> is("new", cache.getCurrentData("/tree/a").getData()));
            until(() -> cache.getCurrentChildren("/tree/a").containsKey("b"));
            two.delete().forPath("/tree/a/b");
            until(() -> cache.getCurrentChildren("/tree/a").isEmpty());
        }
    }

    private void nodeCache() throws Exception {
        try (NodeCache cache = new NodeCache(one, "/node/a")) {
            cache.start(true);
            change("/node");
            until(() -> cache.getCurrentData() != null && is("new", cache.getCurrentData().getData()));
            two.delete().deletingChildrenIfNeeded().forPath("/node/a");
            until(() -> cache.getCurrentData() == null);
        }
    }

    private void pathChildrenCache() throws Exception {
        try (PathChildrenCache cache = new PathChildrenCache(one, "/children", true)) {
            cache.start(PathChildrenCache.StartMode.BUILD_INITIAL_CACHE);
            change("/children");
            until(() -> cache.getCurrentData().size() == 1 && is("new", cache.getCurrentData().get(0).getData()));
            two.delete().deletingChildrenIfNeeded().forPath("/children/a");
            until(() -> cache.getCurrentData().isEmpty());
        }
    }

    private void persistentWatcher() throws Exception {
        BlockingQueue<String> paths = new LinkedBlockingQueue<>();
        BlockingQueue<String> resets = new LinkedBlockingQueue<>();
        try (PersistentWatcher watcher = new PersistentWatcher(one, "/watched", true)) {
            watcher.getListenable().addListener(event -> paths.add(event.getType() + " " + event.getPath()));
            watcher.getResetListenable().addListener(() -> resets.add("set"));
            watcher.start();
            taken(resets);
            change("/watched");
            for (String expected : List.of("NodeCreated /watched", "NodeCreated /watched/a",
                    "NodeDataChanged /watched/a", "NodeCreated /watched/a/b")) {
                same(expected, taken(paths));
            }
        }
    }

    /** Make PATH, and below it "a" with data that changes to "new", and "a/b". */
    private void change(String path) throws Exception {
        two.createContainers(path);
        two.create().forPath(path + "/a", bytes("old"));
        two.setData().forPath(path + "/a", bytes("new"));
        two.create().forPath(path + "/a/b", bytes(""));
    }

    // --- nodes and values -------------------------------------------------------------------------------------

    private void persistentNode() throws Exception {
        try (PersistentNode node = new PersistentNode(one, CreateMode.EPHEMERAL, false, "/persistent", bytes("x"))) {
            node.start();
            same(true, node.waitForInitialCreate(PATIENCE_MS, TimeUnit.MILLISECONDS));
            long first = two.checkExists().forPath("/persistent").getCzxid();
            two.delete().forPath("/persistent");
            until(() -> two.checkExists().forPath("/persistent") != null
                    && two.checkExists().forPath("/persistent").getCzxid() > first);
        }
        until(() -> two.checkExists().forPath("/persistent") == null);
    }

    private void persistentTtlNode() throws Exception {
        try (PersistentTtlNode node = new PersistentTtlNode(one, "/ttl", 300, bytes("x"))) {
            node.start();
            same(true, node.waitForInitialCreate(PATIENCE_MS, TimeUnit.MILLISECONDS));
            until(() -> two.checkExists().forPath("/ttl").getCversion() > 0); // the child that keeps it alive
            Thread.sleep(600);
            same(true, two.checkExists().forPath("/ttl") != null);
        }
        until(() -> two.checkExists().forPath("/ttl") == null);
    }

    private void sharedCount() throws Exception {
        try (SharedCount mine = new SharedCount(one, "/count", 3);
                SharedCount yours = new SharedCount(two, "/count", 4)) {
            mine.start();
            yours.start();
            same(3, yours.getCount());
            same(true, mine.trySetCount(mine.getVersionedValue(), 5));
            until(() -> yours.getCount() == 5);
            same(true, yours.trySetCount(yours.getVersionedValue(), 6));
            until(() -> mine.getCount() == 6);
        }
    }

    private void sharedValue() throws Exception {
        try (SharedValue mine = new SharedValue(one, "/value", bytes("a"));
                SharedValue yours = new SharedValue(two, "/value", bytes("b"))) {
            mine.start();
            yours.start();
            mine.setValue(bytes("c"));
            until(() -> is("c", yours.getValue()));
        }
    }

    private void atomicLong() throws Exception {
        PromotedToLock promoted = PromotedToLock.builder().lockPath("/atomic/lock").retryPolicy(patiently()).build();
        DistributedAtomicLong mine = new DistributedAtomicLong(one, "/atomic/long", patiently());
        DistributedAtomicLong yours = new DistributedAtomicLong(two, "/atomic/long", patiently(), promoted);
        Thread other = new Thread(() -> addTen(yours));
        other.start();
        addTen(mine);
        other.join();
        same(20L, mine.get().postValue());
        same(false, mine.compareAndSet(19L, 0L).succeeded());
    }

    private static void addTen(DistributedAtomicLong number) {
        try {
            for (int added = 0; added < 10;) {
                added += number.increment().succeeded() ? 1 : 0;
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private void atomicValue() throws Exception {
        DistributedAtomicValue value = new DistributedAtomicValue(one, "/atomic/value", patiently());
        same(true, value.initialize(bytes("a")));
        same(true, value.compareAndSet(bytes("a"), bytes("b")).succeeded());
        same(true, is("b", value.get().postValue()));
    }

    // --- locks ------------------------------------------------------------------------------------------------

    private void multiLock() throws Exception {
        InterProcessMultiLock both = new InterProcessMultiLock(one, List.of("/locks/a", "/locks/b"));
        InterProcessMutex single = new InterProcessMutex(two, "/locks/b");
        both.acquire();
        same(false, single.acquire(50, TimeUnit.MILLISECONDS));
        both.release();
        same(true, single.acquire(PATIENCE_MS, TimeUnit.MILLISECONDS));
        same(false, both.acquire(50, TimeUnit.MILLISECONDS));
        single.release();
    }

    private void semaphoreMutex() throws Exception {
        InterProcessSemaphoreMutex mine = new InterProcessSemaphoreMutex(one, "/semaphore");
        InterProcessSemaphoreMutex yours = new InterProcessSemaphoreMutex(two, "/semaphore");
        mine.acquire();
        same(false, yours.acquire(50, TimeUnit.MILLISECONDS));
        mine.release();
        same(true, yours.acquire(PATIENCE_MS, TimeUnit.MILLISECONDS));
        yours.release();
    }

    // --- queues -----------------------------------------------------------------------------------------------

    private void queue() throws Exception {
        Consumer consumer = new Consumer();
        try (DistributedQueue<String> mine = builder(one, consumer, "/queue").lockPath("/queue-lock").buildQueue();
                DistributedQueue<String> yours = builder(two, null, "/queue").lockPath("/queue-lock").buildQueue()) {
            mine.start();
            yours.start();
            for (String item : List.of("a", "b", "c")) {
                yours.put(item);
            }
            consumer.expect("a", "b", "c");
        }
    }

    private void idQueue() throws Exception {
        Consumer consumer = new Consumer();
        try (DistributedIdQueue<String> yours = builder(two, null, "/id-queue").buildIdQueue()) {
            yours.start();
            yours.put("a", "first");
            yours.put("b", "second");
            same(1, yours.remove("first"));
            try (DistributedIdQueue<String> mine = builder(one, consumer, "/id-queue").buildIdQueue()) {
                mine.start();
                consumer.expect("b");
            }
        }
    }

    private void priorityQueue() throws Exception {
        Consumer consumer = new Consumer();
        String path = "/priority-queue";
        try (DistributedPriorityQueue<String> yours = builder(two, null, path).buildPriorityQueue(1)) {
            yours.start();
            yours.put("later", 10);
            yours.put("sooner", 1);
            try (DistributedPriorityQueue<String> mine = builder(one, consumer, path).buildPriorityQueue(1)) {
                mine.start();
                consumer.expect("sooner", "later");
            }
        }
    }

    private void delayQueue() throws Exception {
        Consumer consumer = new Consumer();
        try (DistributedDelayQueue<String> mine = builder(one, consumer, "/delay-queue").buildDelayQueue()) {
            mine.start();
            mine.put("later", System.currentTimeMillis() + 300);
            mine.put("sooner", System.currentTimeMillis());
            consumer.expect("sooner", "later");
        }
    }

    private void simpleQueue() throws Exception {
        SimpleDistributedQueue mine = new SimpleDistributedQueue(one, "/simple-queue");
        SimpleDistributedQueue yours = new SimpleDistributedQueue(two, "/simple-queue");
        mine.offer(bytes("a"));
        same(true, is("a", yours.peek()));
        same(true, is("a", yours.take()));
        Thread later = new Thread(() -> offer(mine, "b"));
        later.start();
        same(true, is("b", yours.poll(PATIENCE_MS, TimeUnit.MILLISECONDS)));
        later.join();
    }

    private static void offer(SimpleDistributedQueue queue, String item) {
        try {
            Thread.sleep(50);
            queue.offer(bytes(item));
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static QueueBuilder<String> builder(CuratorFramework client, Consumer consumer, String path) {
        return QueueBuilder.builder(client, consumer, new Texts(), path);
    }

    private static final class Consumer implements QueueConsumer<String> {
        private final BlockingQueue<String> items = new LinkedBlockingQueue<>();

        @Override
        public void consumeMessage(String item) {
            items.add(item);
        }

        @Override
        public void stateChanged(CuratorFramework client, ConnectionState state) {}

        void expect(String... expected) throws Exception {
            for (String item : expected) {
                same(item, taken(items));
            }
        }
    }

    private static final class Texts implements QueueSerializer<String> {
        @Override
        public byte[] serialize(String item) {
            return bytes(item);
        }

        @Override
        public String deserialize(byte[] bytes) {
            return new String(bytes, StandardCharsets.UTF_8);
        }
    }

    // --- what must be -----------------------------------------------------------------------------------------

    private static void until(Callable<Boolean> isSo) throws Exception {
        long last = System.currentTimeMillis() + PATIENCE_MS;
        while (!isSo.call()) {
            if (System.currentTimeMillis() > last) {
                throw new AssertionError("it did not come about");
            }
            Thread.sleep(5);
        }
    }

    private static String taken(BlockingQueue<String> queue) throws Exception {
        return queue.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
    }

    private static void same(Object expected, Object found) {
        if (!expected.equals(found)) {
            throw new AssertionError("expected " + expected + ", found " + found);
        }
    }

    private static boolean is(String text, byte[] bytes) {
        return bytes != null && text.equals(new String(bytes, StandardCharsets.UTF_8));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
