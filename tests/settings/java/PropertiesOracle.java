import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Properties;
import java.util.TreeMap;

/** For each line, the UTF-16 of a properties file in hex: its keys and values, and the same file as Java writes it. */
final class PropertiesOracle {
    private static String read(String hex) {
        return new String(HexFormat.of().parseHex(hex), StandardCharsets.UTF_16BE);
    }

    private static String hex(String text) {
        StringBuilder out = new StringBuilder();
        for (char each : text.toCharArray()) { // a lone surrogate stays as it is
            out.append(String.format("%04x", (int) each));
        }
        return out.toString();
    }

    public static void main(String[] arguments) throws Exception {
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            Properties properties = new Properties();
            try {
                properties.load(new StringReader(read(line)));
            } catch (IllegalArgumentException error) {
                System.out.println("malformed");
                continue;
            }
            StringWriter written = new StringWriter();
            properties.store(written, null);
            StringBuilder out = new StringBuilder(hex(written.toString()));
            new TreeMap<>(properties).forEach(
                    (key, value) -> out.append(' ').append(hex((String) key)).append('=').append(hex((String) value)));
            System.out.println(out);
        }
    }
}
