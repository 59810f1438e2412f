package waymark;

import java.lang.reflect.Field;
import java.util.Arrays;
import java.util.TreeSet;
import scala.Tuple3;
import scienceworld.runtime.AgentInterface;

/** An episode that is loaded in the simulator; each question is one call from Python. */
public final class Episode {
    /** Between the parts of an answer: the simulator never says it. */
    private static final String APART = "\u001f";

    private final AgentInterface simulator;

    public Episode(AgentInterface simulator) throws ReflectiveOperationException {
        this.simulator = simulator;
        // The simulator makes its parser itself and lets nobody hand it another.
        Field parser = AgentInterface.class.getDeclaredField("inputParser");
        parser.setAccessible(true);
        parser.set(simulator, new Parser(simulator.actionHandler().getActions()));
    }

    /** An input's observation, score, completion, whether it was ambiguous (then reading 0 is meant); and `seen`. */
    public String step(String input) {
        Tuple3<String, Object, Object> told = simulator.step(input);
        boolean ambiguous = simulator.inputParser().isInAmbiguousState();
        if (ambiguous) {
            told = simulator.step("0");
        }
        return String.join(
                APART, told._1(), told._2().toString(), told._3().toString(), Boolean.toString(ambiguous), seen());
    }

    /** Moves so far, look, inventory. */
    public String seen() {
        return String.join(
                APART,
                Integer.toString(simulator.getCurIterations()),
                simulator.freeActionLook(),
                simulator.freeActionInventory());
    }

    /** All valid actions, a line each, sorted. */
    public String validActions() {
        return String.join("\n", new TreeSet<>(Arrays.asList(simulator.getValidActionObjectCombinations())));
    }
}
