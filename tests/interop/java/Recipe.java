import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;

/**
 * One of Curator's objects, its commands, and its thread, because Curator's locks belong to threads.
 *
 * Commands in `inTurn` run in that thread, one after another. Commands in `atOnce` do not wait for them.
 * `interrupt` ends the wait of the thread.
 */
final class Recipe {
    /** A call, whose result is written as JSON. */
    interface Call {
        Object run() throws Exception;
    }

    /** A command, which takes the rest of its words. */
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

    /** Run the command now or later, and pass its result to `answer` in the same thread. */
    void take(String name, List<String> words, Consumer<Call> answer) {
        if (inTurn.containsKey(name)) {
            turns.add(() -> answer.accept(() -> inTurn.get(name).run(words)));
        } else if (atOnce.containsKey(name)) {
            startThread(name, () -> answer.accept(() -> atOnce.get(name).run(words)));
        } else {
            answer.accept(() -> { throw new IllegalArgumentException("unknown command: " + name); });
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
