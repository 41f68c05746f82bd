// Calls as three public clients of Node and Dart do. Prints the body in clear; ends with 3 if the
// signature is not valid, and with 2 and the reason if there is no response or it is not read.
//
//     node caller.mjs URL CLIENT.json community-plain|community-encrypted|handout|dart PATH BODY.json

import {
  constants, createCipheriv, createDecipheriv, createHmac, createPrivateKey, createPublicKey,
  privateDecrypt, publicEncrypt, randomBytes, sign, verify,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';

const [url, file, kind, path, bodyFile] = process.argv.slice(2);
const client = JSON.parse(readFileSync(file, 'utf8'));
const key = (create, text, type) => create({ key: text, format: 'der', type, encoding: 'base64' });
const ownKey = key(createPrivateKey, client.merchantPrivateKey, 'pkcs8');
const serverKey = key(createPublicKey, client.serverPublicKey, 'spki');
const padding = constants.RSA_PKCS1_PADDING;
const encoded = (bytes) => encodeURIComponent(bytes.toString('base64'));
const decoded = (header, name) => (
  Buffer.from(decodeURIComponent(header.split(`${name}=`)[1]), 'base64')
);

// Bytes of the AES key; how the signature is written; what the body of a response is verified as.
const KINDS = {
  // Prints the JSON again before it verifies.
  'community-plain': {
    signature: 'algorithm=RSA256, signature=', again: (body) => JSON.stringify(JSON.parse(body)),
  },
  // Unwraps the key of the response.
  'community-encrypted': { aes: 32, signature: 'algorithm=RSA256, signature=', unwraps: true },
  // Sends an empty key version, and waits for two seconds.
  handout: { aes: 16, signature: 'algorithm=RSA256, keyVersion=, signature=', timeout: 2_000 },
  // Access key and secret key; all names in lower case; the body in chunks.
  dart: {},
};
const { aes, signature, again = (body) => body, unwraps, timeout } = KINDS[kind];

const time = new Date().toISOString().replace(/\.\d+Z$/, '+0000');
let body = readFileSync(bodyFile, 'utf8');
const headers = { 'Client-Id': client.clientId, 'Request-Time': time, 'Content-Type': 'application/json; charset=UTF-8' };
const aesKey = aes && randomBytes(aes);
if (aes) {
  const cipher = createCipheriv(`aes-${8 * aes}-ecb`, aesKey, null);
  body = Buffer.concat([cipher.update(body), cipher.final()]).toString('base64');
  headers['Content-Type'] = 'text/plain; charset=UTF-8';
  headers.Encrypt = `algorithm=RSA_AES, symmetricKey=${encoded(publicEncrypt({ key: serverKey, padding }, aesKey))}`;
}
const content = (at, text) => `POST ${path}\n${client.clientId}.${at}.${text}`;
const mac = (text) => createHmac('sha256', Buffer.from(client.secretKey, 'base64url')).update(text).digest('base64url');
if (signature) {
  headers.Signature = signature + encoded(sign('sha256', content(time, body), ownKey));
  headers['Content-Length'] = Buffer.byteLength(body);
} else {
  Object.assign(headers, { 'Auth-Type': 'AKSK', 'Access-Key': client.accessKey, Signature: mac(content(time, body)) });
  for (const [name, value] of Object.entries(headers)) {
    delete headers[name];
    headers[name.toLowerCase()] = value;
  }
  headers['transfer-encoding'] = 'chunked';
}

function read(response, text) {
  const at = response.headers['response-time'];
  const isValid = signature
    ? verify('sha256', content(at, again(text)), serverKey, decoded(response.headers.signature, 'signature'))
    : response.headers.signature === mac(content(at, text));
  if (!isValid) {
    process.exitCode = 3;
    return;
  }
  if (!aes) {
    console.log(text);
    return;
  }
  const used = unwraps
    ? privateDecrypt({ key: ownKey, padding }, decoded(response.headers.encrypt, 'symmetricKey'))
    : aesKey;
  const decipher = createDecipheriv(`aes-${8 * aes}-ecb`, used, null);
  console.log(Buffer.concat([decipher.update(text, 'base64'), decipher.final()]).toString());
}

const failed = (error) => {
  console.error(error.message);
  process.exitCode = 2;
};
const signal = timeout && AbortSignal.timeout(timeout);
const request = http.request(url + path, { method: 'POST', headers, signal }, (response) => {
  const parts = [];
  response.on('data', (part) => parts.push(part));
  response.on('end', () => {
    try {
      read(response, Buffer.concat(parts).toString());
    } catch (error) {
      failed(error);
    }
  });
  response.on('error', failed);
});
request.on('error', failed);
request.end(body);
