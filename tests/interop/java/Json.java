import java.util.Iterator;
import java.util.Map;

/** Writes null, booleans, numbers, texts, and collections and maps of them. */
final class Json {
    private Json() {}

    static String write(Object value) {
        StringBuilder json = new StringBuilder();
        write(value, json);
        return json.toString();
    }

    private static void write(Object value, StringBuilder json) {
        if (value == null || value instanceof Boolean || value instanceof Number) {
            json.append(value);
        } else if (value instanceof Map) {
            char before = '{';
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                json.append(before);
                write(String.valueOf(entry.getKey()), json);
                json.append(':');
                write(entry.getValue(), json);
                before = ',';
            }
            json.append(before == '{' ? "{}" : "}");
        } else if (value instanceof Iterable) {
            json.append('[');
            for (Iterator<?> each = ((Iterable<?>) value).iterator(); each.hasNext(); ) {
                write(each.next(), json);
                json.append(each.hasNext() ? "," : "");
            }
            json.append(']');
        } else {
            quote(String.valueOf(value), json);
        }
    }

    /** Write the text in ASCII. */
    private static void quote(String text, StringBuilder json) {
        json.append('"');
        for (char each : text.toCharArray()) {
            if (each < ' ' || each > '~' || each == '"' || each == '\\') {
                json.append(String.format("\\u%04x", (int) each));
            } else {
                json.append(each);
            }
        }
        json.append('"');
    }
}
