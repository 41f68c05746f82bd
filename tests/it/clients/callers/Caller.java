import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.HttpURLConnection;
import java.net.URL;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.spec.PKCS8EncodedKeySpec;
import java.security.spec.X509EncodedKeySpec;
import java.text.SimpleDateFormat;
import java.util.Base64;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import javax.crypto.Cipher;
import javax.crypto.KeyGenerator;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Calls as the vendor's Java SDK does: HttpURLConnection, names of headers by their exact spelling,
 * pairs with exactly one equals sign, and the body without the ends of its lines. Prints the body in
 * clear; ends with 3 if the signature is not valid, and with 2 and the reason if there is no response.
 *
 *     java Caller URL CLIENT-ID PRIVATE-KEY SERVER-KEY ACCESS-KEY SECRET-KEY MODE PATH BODY.json
 *
 * MODE is plain, aksk, or the bits of the AES key.
 */
public class Caller {
    public static void main(String[] words) {
        try {
            new Caller(words).call(words[7], Files.readString(Path.of(words[8])));
        } catch (Exception reason) {
            System.err.println(reason);
            System.exit(2);
        }
    }

    private final String url, clientId, accessKey, mode;
    private final byte[] secretKey;
    private final PrivateKey ownKey;
    private final PublicKey serverKey;

    private Caller(String[] words) throws Exception {
        KeyFactory rsa = KeyFactory.getInstance("RSA");
        url = words[0];
        clientId = words[1];
        ownKey = rsa.generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(words[2])));
        serverKey = rsa.generatePublic(new X509EncodedKeySpec(Base64.getDecoder().decode(words[3])));
        accessKey = words[4];
        secretKey = Base64.getUrlDecoder().decode(words[5]);
        mode = words[6];
    }

    private void call(String path, String body) throws Exception {
        boolean isAccessKey = mode.equals("aksk"), isPlain = mode.equals("plain") || isAccessKey;
        HttpURLConnection connection = (HttpURLConnection) new URL(url + path).openConnection();
        connection.setRequestMethod("POST");
        connection.setDoOutput(true);
        connection.setReadTimeout(10_000);
        String time = new SimpleDateFormat("yyyy-MM-dd'T'HH:mm:ssZ").format(new Date());
        if (!isPlain) {
            KeyGenerator generator = KeyGenerator.getInstance("AES");
            generator.init(Integer.parseInt(mode));
            byte[] aesKey = generator.generateKey().getEncoded();
            body = Base64.getEncoder().encodeToString(aes(Cipher.ENCRYPT_MODE, aesKey, body.getBytes("UTF-8")));
            Cipher wrap = Cipher.getInstance("RSA/ECB/PKCS1Padding");
            wrap.init(Cipher.ENCRYPT_MODE, serverKey);
            connection.setRequestProperty("Encrypt", "algorithm=RSA_AES, symmetricKey=" + encoded(wrap.doFinal(aesKey)));
        }
        String type = isPlain ? "application/json" : "text/plain";
        connection.setRequestProperty("Content-Type", type + "; charset=UTF-8");
        connection.setRequestProperty("Client-Id", clientId);
        connection.setRequestProperty("Request-Time", time);
        byte[] content = content(path, time, body);
        if (isAccessKey) {
            connection.setRequestProperty("Auth-Type", "AKSK");
            connection.setRequestProperty("Access-Key", accessKey);
            connection.setRequestProperty("Signature", mac(content));
        } else {
            Signature signer = Signature.getInstance("SHA256withRSA");
            signer.initSign(ownKey);
            signer.update(content);
            connection.setRequestProperty("Signature", "algorithm=RSA256, signature=" + encoded(signer.sign()));
        }
        connection.getOutputStream().write(body.getBytes("UTF-8"));

        Map<String, List<String>> headers = connection.getHeaderFields();
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(connection.getInputStream(), "UTF-8"))) {
            body = lines.lines().collect(Collectors.joining());
        }
        content = content(path, exact(headers, "Response-Time"), body);
        if (!isValid(exact(headers, "Signature"), content, isAccessKey)) {
            System.exit(3);
        }
        if (!isPlain && headers.containsKey("Encrypt")) {
            Cipher unwrap = Cipher.getInstance("RSA/ECB/PKCS1Padding");
            unwrap.init(Cipher.DECRYPT_MODE, ownKey);
            byte[] aesKey = unwrap.doFinal(decoded(exact(headers, "Encrypt"), "symmetricKey"));
            body = new String(aes(Cipher.DECRYPT_MODE, aesKey, Base64.getDecoder().decode(body)), "UTF-8");
        }
        System.out.println(body);
    }

    private boolean isValid(String header, byte[] content, boolean isAccessKey) throws Exception {
        if (isAccessKey) {
            return header.equals(mac(content));
        }
        Signature verifier = Signature.getInstance("SHA256withRSA");
        verifier.initVerify(serverKey);
        verifier.update(content);
        return verifier.verify(decoded(header, "signature"));
    }

    /** The map compares names as they are written. */
    private static String exact(Map<String, List<String>> headers, String name) {
        return headers.get(name).get(0);
    }

    private byte[] content(String path, String time, String body) throws Exception {
        return ("POST " + path + "\n" + clientId + "." + time + "." + body).getBytes("UTF-8");
    }

    private static byte[] aes(int direction, byte[] key, byte[] text) throws Exception {
        Cipher cipher = Cipher.getInstance("AES/ECB/PKCS5Padding");
        cipher.init(direction, new SecretKeySpec(key, "AES"));
        return cipher.doFinal(text);
    }

    private String mac(byte[] content) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(secretKey, "HmacSHA256"));
        return Base64.getUrlEncoder().withoutPadding().encodeToString(mac.doFinal(content));
    }

    private static String encoded(byte[] value) throws Exception {
        return URLEncoder.encode(Base64.getEncoder().encodeToString(value), "UTF-8");
    }

    private static byte[] decoded(String header, String name) throws Exception {
        for (String pair : header.split(",")) {
            String[] parts = pair.trim().split("=");
            if (parts.length == 2 && parts[0].equals(name)) {
                return Base64.getDecoder().decode(URLDecoder.decode(parts[1], "UTF-8"));
            }
        }
        throw new IllegalArgumentException("no " + name);
    }
}
