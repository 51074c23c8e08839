import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import org.apache.jute.BinaryInputArchive;
import org.apache.jute.BinaryOutputArchive;
import org.apache.jute.Record;

/**
 * Encodes and decodes records with ZooKeeper's own classes. Answers each line of its input with one line:
 *
 *   describe CLASS           the fields in order, as TYPE:NAME; `missing` if this release has no such class
 *   encode CLASS VALUE...    the bytes in hex; values in order, those of nested records and vectors inline
 *   decode CLASS HEX         the record, read and written again
 *
 * A value is a decimal number, true, false, null, or x and the hex of a buffer's bytes or of a text's UTF-16.
 * A vector is its count and its elements. CLASS is a name below org.apache.zookeeper.
 */
public final class JuteOracle {
    private static final String PACKAGE = "org.apache.zookeeper.";

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            System.out.println(answer(Arrays.asList(line.split(" ")).iterator()));
        }
    }

    private static String answer(Iterator<String> words) throws Exception {
        String command = words.next();
        Class<?> type;
        try {
            type = Class.forName(PACKAGE + words.next());
        } catch (ClassNotFoundException error) {
            return "missing";
        }
        switch (command) {
            case "describe":
                return describe(type);
            case "encode":
                return hex((Record) make(type, words));
            default:
                Record record = (Record) type.getDeclaredConstructor().newInstance();
                byte[] bytes = bytes(words.hasNext() ? words.next() : "");
                record.deserialize(BinaryInputArchive.getArchive(new ByteArrayInputStream(bytes)), "");
                return hex(record);
        }
    }

    private static String describe(Class<?> type) {
        List<String> fields = new ArrayList<>();
        for (Field field : type.getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers())) {
                fields.add(field.getGenericType().getTypeName().replace(" ", "") + ":" + field.getName());
            }
        }
        return String.join(" ", fields);
    }

    private static Object make(Class<?> type, Iterator<String> words) throws Exception {
        for (Constructor<?> constructor : type.getConstructors()) {
            Type[] types = constructor.getGenericParameterTypes();
            if (types.length > 0) {
                Object[] values = new Object[types.length];
                for (int i = 0; i < types.length; i++) {
                    values[i] = value(types[i], words);
                }
                return constructor.newInstance(values);
            }
        }
        throw new IllegalArgumentException(type.getName());
    }

    private static Object value(Type type, Iterator<String> words) throws Exception {
        if (type instanceof Class && Record.class.isAssignableFrom((Class<?>) type)) {
            return make((Class<?>) type, words);
        }
        String word = words.next();
        if (type == int.class) {
            return Integer.valueOf(word);
        } else if (type == long.class) {
            return Long.valueOf(word);
        } else if (type == boolean.class) {
            return Boolean.valueOf(word);
        } else if (word.equals("null")) {
            return null;
        } else if (type == String.class) {
            return new String(bytes(word.substring(1)), StandardCharsets.UTF_16BE);
        } else if (type == byte[].class) {
            return bytes(word.substring(1));
        }
        Type element = ((ParameterizedType) type).getActualTypeArguments()[0];
        List<Object> list = new ArrayList<>();
        for (int left = Integer.parseInt(word); left > 0; left--) {
            list.add(value(element, words));
        }
        return list;
    }

    private static byte[] bytes(String hex) {
        byte[] bytes = new byte[hex.length() / 2];
        for (int i = 0; i < bytes.length; i++) {
            bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        }
        return bytes;
    }

    private static String hex(Record record) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        record.serialize(BinaryOutputArchive.getArchive(bytes), "");
        StringBuilder hex = new StringBuilder();
        for (byte each : bytes.toByteArray()) {
            hex.append(String.format("%02x", each));
        }
        return hex.toString();
    }
}
