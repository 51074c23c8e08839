import java.io.BufferedReader;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.framework.recipes.locks.Revoker;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.zookeeper.ZooKeeper;

/**
 * Curator's recipes, driven by tests over stdin and stdout. The arguments are the connect string and the session
 * timeout in milliseconds. A line of input is a command, and a line of output is its answer, if it has one:
 *
 *   TAG CLASS NAME WORD...      create an object of one of Curator's classes, named NAME; see `Recipes`
 *   TAG COMMAND NAME WORD...    send a command to an object; see `Recipes`
 *   TAG session-id | expire-session | attempt-revoke PATH | close
 *
 *   TAG ok JSON
 *   TAG error CLASS JSON
 *
 * Words are URL-encoded. A command that takes long is answered later than the commands after it. The program
 * ends with its input.
 */
public final class CuratorPeer {
    private final CuratorFramework client;
    private final PrintStream answers;
    private final Map<String, Recipe> recipes = new ConcurrentHashMap<>();

    private CuratorPeer(CuratorFramework client, PrintStream answers) {
        this.client = client;
        this.answers = answers;
    }

    public static void main(String[] arguments) throws Exception {
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "US-ASCII");
        System.setOut(System.err); // other output is not an answer
        CuratorFramework client = CuratorFrameworkFactory.builder()
                .connectString(arguments[0])
                .sessionTimeoutMs(Integer.parseInt(arguments[1]))
                .connectionTimeoutMs(10_000)
                .retryPolicy(new ExponentialBackoffRetry(50, 5))
                .build();
        client.start();
        CuratorPeer peer = new CuratorPeer(client, answers);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            List<String> words = new ArrayList<>();
            for (String word : line.split(" ", -1)) {
                words.add(URLDecoder.decode(word, "UTF-8"));
            }
            peer.take(words.get(0), words.get(1), words.subList(2, words.size()));
        }
        Runtime.getRuntime().halt(0); // the reader has closed the pipe; the session will expire
    }

    private void take(String tag, String command, List<String> words) {
        if (Recipes.NAMES.contains(command)) {
            answer(tag, () -> {
                recipes.put(words.get(0), Recipes.make(command, client, words.subList(1, words.size())));
                return null;
            });
        } else if (words.isEmpty() || command.equals("attempt-revoke")) {
            Recipe.startThread(command, () -> answer(tag, () -> doIt(command, words)));
        } else {
            Recipe recipe = recipes.get(words.get(0));
            if (recipe == null) {
                answer(tag, () -> { throw new IllegalArgumentException("no object has the name " + words.get(0)); });
            } else {
                recipe.take(command, words.subList(1, words.size()), call -> answer(tag, call));
            }
        }
    }

    private Object doIt(String command, List<String> words) throws Exception {
        switch (command) {
            case "session-id":
                return zooKeeper().getSessionId();
            case "expire-session":
                expireSession();
                return null;
            case "attempt-revoke":
                Revoker.attemptRevoke(client, words.get(0));
                return null;
            case "close":
                client.close();
                return null;
            default:
                throw new IllegalArgumentException("no such command: " + command);
        }
    }

    private ZooKeeper zooKeeper() throws Exception {
        if (!client.blockUntilConnected(10, TimeUnit.SECONDS)) {
            throw new IllegalStateException("not connected after 10 s");
        }
        return client.getZookeeperClient().getZooKeeper();
    }

    /** Take the session over with a second handle and close it, so that it ends for the first one. */
    private void expireSession() throws Exception {
        ZooKeeper ours = zooKeeper();
        CountDownLatch connected = new CountDownLatch(1);
        ZooKeeper other = new ZooKeeper(
                client.getZookeeperClient().getCurrentConnectionString(),
                ours.getSessionTimeout(),
                event -> connected.countDown(),
                ours.getSessionId(),
                ours.getSessionPasswd());
        connected.await(10, TimeUnit.SECONDS);
        other.close();
    }

    private void answer(String tag, Recipe.Call call) {
        String line;
        try {
            line = tag + " ok " + Json.write(call.run());
        } catch (Throwable error) {
            line = tag + " error " + error.getClass().getSimpleName() + " " + Json.write(String.valueOf(error.getMessage()));
        }
        synchronized (answers) {
            answers.println(line);
        }
    }
}
