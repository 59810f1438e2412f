package waymark;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import language.model.ActionRequestDef;
import scala.Tuple2;
import scala.collection.Iterator;
import scala.collection.immutable.Set;
import scienceworld.input.InputParser;
import scienceworld.objects.portal.Portal;
import scienceworld.struct.EnvObject;

/**
 * The simulator's parser of inputs, which finds the same in the same order without spelling out every way to call
 * everything: that takes most of a step's time.
 *
 * <p>A thing may be called by any of its names, alone or with what contains it (`water`, `water in pot`). An input that
 * begins with none of its names begins with none of the longer forms either, so only the few things that an input may
 * mean are looked at in full.
 */
final class Parser extends InputParser {
    /** Each name that was met as the simulator compares it with an input. */
    private final Map<String, String> plain = new HashMap<>();

    /** What the names below belong to: an array that the simulator makes anew for each input. */
    private EnvObject[] named = {};

    private String[][] names = {};

    Parser(ActionRequestDef[] actions) {
        super(actions);
    }

    @Override
    public Tuple2<Object, Tuple2<String, EnvObject>[]> matchObj(String input, EnvObject[] objects, EnvObject room) {
        if (objects != named) {
            names = new String[objects.length][];
            for (int i = 0; i < objects.length; i++) {
                names[i] = names(objects[i], room);
            }
            named = objects;
        }
        List<Tuple2<String, EnvObject>> found = new ArrayList<>();
        for (int i = 0; i < objects.length; i++) {
            if (beginsWithOne(input, names[i])) {
                for (String called : InputParser.getObjectReferents(objects[i], room)) {
                    if (input.startsWith(called)) {
                        found.add(new Tuple2<>(input.substring(called.length()).trim(), objects[i]));
                    }
                }
            }
        }
        @SuppressWarnings("unchecked")
        Tuple2<String, EnvObject>[] rest = found.toArray(new Tuple2[0]);
        return new Tuple2<>(rest.length > 0, rest);
    }

    private static boolean beginsWithOne(String input, String[] names) {
        for (String name : names) {
            if (input.startsWith(name)) {
                return true;
            }
        }
        return false;
    }

    private String[] names(EnvObject object, EnvObject room) {
        Set<String> called = object instanceof Portal ? ((Portal) object).getReferents(room) : object.getReferents();
        String[] names = new String[called.size()];
        Iterator<String> each = called.iterator();
        for (int i = 0; i < names.length; i++) {
            names[i] = plain.computeIfAbsent(each.next(), Parser::plain);
        }
        return names;
    }

    /** In lower case, without articles. */
    private static String plain(String name) {
        return String.join(" ", InputParser.tokenize(name.toLowerCase()));
    }
}
