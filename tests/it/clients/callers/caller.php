<?php
// Calls as the PHP sample of the vendor does: curl with the response's head in front of its body,
// key version v1, and PEM keys. Prints the body in clear; ends with 3 if the signature is not valid.
//
//     php caller.php URL CLIENT.json plain|encrypted PATH BODY.json [HEADER...]

[, $url, $file, $mode, $path, $bodyFile] = $argv;
$client = json_decode(file_get_contents($file), true);
$ownKey = openssl_pkey_get_private($client['merchantPrivateKey']);
$serverKey = openssl_pkey_get_public($client['serverPublicKey']);
$body = file_get_contents($bodyFile);
$time = date('Y-m-d\TH:i:sO');
$headers = ["Client-Id: {$client['clientId']}", "Request-Time: $time"];

if ($mode === 'encrypted') {
    $aesKey = openssl_random_pseudo_bytes(32);
    $body = base64_encode(openssl_encrypt($body, 'aes-256-ecb', $aesKey, OPENSSL_RAW_DATA));
    openssl_public_encrypt($aesKey, $wrapped, $serverKey);
    $headers[] = 'Content-Type: text/plain; charset=UTF-8';
    $headers[] = 'Encrypt: algorithm=RSA_AES, symmetricKey=' . urlencode(base64_encode($wrapped));
} else {
    $headers[] = 'Content-Type: application/json; charset=UTF-8';
}
openssl_sign("POST $path\n{$client['clientId']}.$time.$body", $signature, $ownKey, OPENSSL_ALGO_SHA256);
$headers[] = 'Signature: algorithm=RSA256, keyVersion=v1, signature=' . urlencode(base64_encode($signature));

$curl = curl_init($url . $path);
curl_setopt_array($curl, [
    CURLOPT_POST => true,
    CURLOPT_POSTFIELDS => $body,
    CURLOPT_HTTPHEADER => array_merge($headers, array_slice($argv, 6)),
    CURLOPT_RETURNTRANSFER => true,
    CURLOPT_HEADER => true,
    CURLOPT_SSL_VERIFYPEER => false,
    CURLOPT_SSL_VERIFYHOST => 0,
]);
$response = curl_exec($curl);
if ($response === false) {
    fwrite(STDERR, curl_error($curl) . "\n");
    exit(2);
}
// The first empty line ends the head, also that of an interim response.
[$head, $answer] = explode("\r\n\r\n", $response, 2);
$find = function (string $name) use ($head): string {
    return preg_match("/^$name: (.*)$/mi", $head, $found) ? trim($found[1]) : '';
};
$value = function (string $header, string $name): string {
    $parts = explode("$name=", $header);
    return base64_decode(urldecode(end($parts)));
};

$content = "POST $path\n{$client['clientId']}.{$find('Response-Time')}.$answer";
$signature = $value($find('Signature'), 'signature');
if (openssl_verify($content, $signature, $serverKey, OPENSSL_ALGO_SHA256) !== 1) {
    fwrite(STDERR, "verify result is not 1\n");
    exit(3);
}
if ($mode === 'encrypted') {
    // Whether the response is encrypted is not asked.
    $unwrapped = '';
    openssl_private_decrypt($value($find('Encrypt'), 'symmetricKey'), $unwrapped, $ownKey);
    $answer = openssl_decrypt(base64_decode($answer), 'aes-256-ecb', $unwrapped ?? '', OPENSSL_RAW_DATA);
}
echo $answer;
