// Compares two photos: a signed and, if wanted, encrypted call to Visavis in Java 17 or later.
//
//     java Call.java A.jpg B.jpg [--encrypt]
//
// The keys come from the environment, see ../README.md. The response's JSON goes to stdout. Exit
// code: 0 when resultStatus is S, 1 when it is F or U, 2 if no valid response arrived.

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.file.*;
import java.security.*;
import java.security.spec.*;
import java.time.*;
import java.time.format.DateTimeFormatter;
import java.util.*;
import java.util.regex.*;
import javax.crypto.Cipher;
import javax.crypto.spec.SecretKeySpec;

final class Call {
    private static final String API = "/api/v1/zoloz/facecompare/compare";
    private static final Duration TIMEOUT = Duration.ofSeconds(30);
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd'T'HH:mm:ssZ");
    private static final Pattern SIGNATURE = Pattern.compile("signature=([^,]*)");
    private static final Pattern STATUS = Pattern.compile("\"resultStatus\":\"([SFU])\"");

    public static void main(String[] arguments) {
        List<String> photos = new ArrayList<>(List.of(arguments));
        boolean encrypted = photos.remove("--encrypt");
        try {
            if (photos.size() != 2) throw new CallException("usage: java Call.java A.jpg B.jpg [--encrypt]");
            String response = call(photos, encrypted);
            Matcher status = STATUS.matcher(response);
            if (!status.find()) throw new CallException("the response is signed but no result: check the URL");
            new PrintStream(System.out, true, UTF_8).println(response);
            System.exit(status.group(1).equals("S") ? 0 : 1);
        } catch (CallException | IllegalArgumentException | GeneralSecurityException e) {
            System.err.println("Call.java: " + e.getMessage());
            System.exit(2);
        }
    }

    static String call(List<String> photos, boolean encrypted) throws CallException, GeneralSecurityException {
        String url = setting("VISAVIS_URL", "http://127.0.0.1:8080").replaceAll("/+$", "") + API;
        String clientId = setting("VISAVIS_CLIENT_ID", "");
        KeyFactory rsa = KeyFactory.getInstance("RSA");
        PrivateKey merchantKey =
                key("VISAVIS_MERCHANT_PRIVATE_KEY", der -> rsa.generatePrivate(new PKCS8EncodedKeySpec(der)));
        PublicKey serverKey = key("VISAVIS_SERVER_PUBLIC_KEY", der -> rsa.generatePublic(new X509EncodedKeySpec(der)));

        // Joined by hand: hexadecimal digits and base64 need no escapes. By the documents bizId has
        // at most 32 bytes, which is a UUID without hyphens.
        byte[] body = "{\"bizId\":\"%s\",\"face1\":{\"content\":\"%s\"},\"face2\":{\"content\":\"%s\"}}"
                .formatted(UUID.randomUUID().toString().replace("-", ""), base64(photos.get(0)), base64(photos.get(1)))
                .getBytes(UTF_8);
        Map<String, String> headers = new LinkedHashMap<>();
        headers.put("Client-Id", clientId);
        headers.put("Request-Time", OffsetDateTime.now(ZoneOffset.UTC).format(TIME));
        headers.put("Content-Type", (encrypted ? "text/plain" : "application/json") + "; charset=UTF-8");
        byte[] aesKey = new byte[32];
        new SecureRandom().nextBytes(aesKey);
        if (encrypted) { // first, so that the signature covers what is sent
            body = Base64.getEncoder().encode(aes(Cipher.ENCRYPT_MODE, aesKey, body));
            headers.put("Encrypt", "algorithm=RSA_AES, symmetricKey=" + headerValue(wrap(serverKey, aesKey)));
        }
        byte[] signature = sign(merchantKey, contentToBeSigned(clientId, headers.get("Request-Time"), body));
        headers.put("Signature", "algorithm=RSA256, signature=" + headerValue(signature));

        HttpResponse<byte[]> response = post(url, headers, body);
        String time = response.headers().firstValue("Response-Time").orElse("");
        String signed = response.headers().firstValue("Signature").orElse("");
        if (!verify(serverKey, signed, contentToBeSigned(clientId, time, response.body()))) {
            throw new CallException("the response's signature does not verify: take VISAVIS_CLIENT_ID and"
                    + " VISAVIS_SERVER_PUBLIC_KEY from the same client file");
        }
        // A refusal can be in clear even if the request was not. What is encrypted is so under the
        // key that was sent: Visavis always reuses it, and the own copy of the response need not be
        // unwrapped.
        if (response.headers().firstValue("Encrypt").isEmpty()) return new String(response.body(), UTF_8);
        return new String(aes(Cipher.DECRYPT_MODE, aesKey, Base64.getDecoder().decode(response.body())), UTF_8);
    }

    static String setting(String name, String fallback) throws CallException {
        String value = System.getenv().getOrDefault(name, fallback);
        if (!value.isEmpty()) return value;
        throw new CallException(name + " is not set: export it from the client file, see README.md");
    }

    static <K> K key(String name, KeyReader<K> reader) throws CallException {
        String text = setting(name, "");
        try {
            return reader.read(Base64.getDecoder().decode(text));
        } catch (IllegalArgumentException | GeneralSecurityException e) {
            throw new CallException(name + " is no key: copy it whole from the client file");
        }
    }

    static String base64(String photo) throws CallException {
        try {
            return Base64.getEncoder().encodeToString(Files.readAllBytes(Path.of(photo)));
        } catch (IOException | InvalidPathException e) {
            throw new CallException(photo + " cannot be read: check the path");
        }
    }

    /** The body as bytes, exactly as on the wire: parsed and printed again it would be another text. */
    static byte[] contentToBeSigned(String clientId, String time, byte[] body) {
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        content.writeBytes(("POST " + API + "\n" + clientId + "." + time + ".").getBytes(UTF_8));
        content.writeBytes(body);
        return content.toByteArray();
    }

    static byte[] sign(PrivateKey key, byte[] content) throws GeneralSecurityException {
        Signature signer = Signature.getInstance("SHA256withRSA");
        signer.initSign(key);
        signer.update(content);
        return signer.sign();
    }

    static boolean verify(PublicKey key, String header, byte[] content) {
        Matcher value = SIGNATURE.matcher(header);
        if (!value.find()) return false;
        try {
            // URLDecoder is for forms and would turn a bare + into a space.
            String base64 = URLDecoder.decode(value.group(1).replace("+", "%2B"), UTF_8);
            Signature verifier = Signature.getInstance("SHA256withRSA");
            verifier.initVerify(key);
            verifier.update(content);
            return verifier.verify(Base64.getDecoder().decode(base64));
        } catch (IllegalArgumentException | GeneralSecurityException e) {
            return false; // no base64, or not of the key's length
        }
    }

    static byte[] wrap(PublicKey key, byte[] aesKey) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("RSA/ECB/PKCS1Padding");
        cipher.init(Cipher.ENCRYPT_MODE, key);
        return cipher.doFinal(aesKey);
    }

    static byte[] aes(int mode, byte[] key, byte[] text) throws GeneralSecurityException {
        Cipher cipher = Cipher.getInstance("AES/ECB/PKCS5Padding"); // Java's name for PKCS#7
        cipher.init(mode, new SecretKeySpec(key, "AES"));
        return cipher.doFinal(text);
    }

    /** Percent-encoded, because some parser on the way reads a bare + as a space and loses a bare =. */
    static String headerValue(byte[] bytes) {
        return URLEncoder.encode(Base64.getEncoder().encodeToString(bytes), UTF_8);
    }

    static HttpResponse<byte[]> post(String url, Map<String, String> headers, byte[] body) throws CallException {
        try {
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url)).timeout(TIMEOUT);
            headers.forEach(request::header);
            request.POST(HttpRequest.BodyPublishers.ofByteArray(body));
            HttpResponse<byte[]> response = HttpClient.newHttpClient()
                    .send(request.build(), HttpResponse.BodyHandlers.ofByteArray());
            if (response.statusCode() == 200) return response;
            throw new IOException("HTTP " + response.statusCode() + ", is a proxy in between?");
        } catch (IOException | IllegalArgumentException | InterruptedException e) {
            throw new CallException(url + " gives no response (" + e + "): check VISAVIS_URL and the server");
        }
    }

    interface KeyReader<K> {
        K read(byte[] der) throws GeneralSecurityException;
    }

    /** No valid response; the text names the remedy. */
    static final class CallException extends Exception {
        CallException(String cure) {
            super(cure);
        }
    }
}
