import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;

/**
 * One of Curator's objects, what it can be told, and a thread of its own: Curator's locks belong to threads.
 *
 * What is said `inTurn` is done in that thread, one after another. What is said `atOnce` does not wait for that.
 * `interrupt` ends what the thread waits in.
 */
final class Recipe {
    /** Something to do; what it returns is written as JSON. */
    interface Call {
        Object run() throws Exception;
    }

    /** Something to do with the rest of the words of a command. */
    interface Command {
        Object run(List<String> words) throws Exception;
    }

    private final Map<String, Command> inTurn = new HashMap<>();
    private final Map<String, Command> atOnce = new HashMap<>();
    private final BlockingQueue<Runnable> turns = new LinkedBlockingQueue<>();
    private final Thread thread;

    Recipe() {
        thread = startThread("recipe", this::takeTurns);
        atOnce("interrupt", words -> {
            thread.interrupt();
            return null;
        });
    }

    Recipe inTurn(String name, Command command) {
        inTurn.put(name, command);
        return this;
    }

    Recipe atOnce(String name, Command command) {
        atOnce.put(name, command);
        return this;
    }

    /** Do it now or later, and give it to `answer` in the thread that does it. */
    void take(String name, List<String> words, Consumer<Call> answer) {
        if (inTurn.containsKey(name)) {
            turns.add(() -> answer.accept(() -> inTurn.get(name).run(words)));
        } else if (atOnce.containsKey(name)) {
            startThread(name, () -> answer.accept(() -> atOnce.get(name).run(words)));
        } else {
            answer.accept(() -> { throw new IllegalArgumentException("it cannot " + name); });
        }
    }

    static Thread startThread(String name, Runnable run) {
        Thread thread = new Thread(run, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    private void takeTurns() {
        while (true) {
            try {
                turns.take().run();
            } catch (InterruptedException late) {
                // it had ended before it could be interrupted
            }
        }
    }
}
