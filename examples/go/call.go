// Compares two photos: a signed and, if wanted, encrypted call to Visavis in Go 1.19 or later.
//
//	go run call.go A.jpg B.jpg [--encrypt]
//
// The keys come from the environment, see ../README.md. The response's JSON goes to stdout. Exit
// code: 0 when resultStatus is S, 1 when it is F or U, 2 if no valid response arrived ("go run"
// turns every failure into 1: "go build call.go" where the difference matters).
package main

import (
	"bytes"
	"crypto"
	"crypto/aes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const uri = "/api/v1/zoloz/facecompare/compare"

func main() {
	photos, encrypted := []string{}, false
	for _, argument := range os.Args[1:] {
		if argument == "--encrypt" {
			encrypted = true
		} else {
			photos = append(photos, argument)
		}
	}
	if len(photos) != 2 {
		fail("usage: call A.jpg B.jpg [--encrypt]")
	}
	response := call(photos, encrypted)
	var outcome struct{ Result struct{ ResultStatus string } }
	if json.Unmarshal(response, &outcome) != nil || outcome.Result.ResultStatus == "" {
		fail("the response is signed but no result: compare the server's version")
	}
	fmt.Printf("%s\n", response)
	if outcome.Result.ResultStatus != "S" {
		os.Exit(1)
	}
}

// fail ends the program if no valid response can be read; the text names the remedy.
func fail(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "call.go: "+format+"\n", values...)
	os.Exit(2)
}

// must is for what fails only if the system has no random numbers or a key is unusable.
func must[T any](value T, err error) T {
	if err != nil {
		fail("%v: check the keys", err)
	}
	return value
}

func call(photos []string, encrypted bool) []byte {
	address := strings.TrimRight(setting("VISAVIS_URL", "http://127.0.0.1:8080"), "/") + uri
	clientID := setting("VISAVIS_CLIENT_ID", "")
	merchantKey := key[*rsa.PrivateKey]("VISAVIS_MERCHANT_PRIVATE_KEY", x509.ParsePKCS8PrivateKey)
	serverKey := key[*rsa.PublicKey]("VISAVIS_SERVER_PUBLIC_KEY", x509.ParsePKIXPublicKey)

	body := requestJSON(photos)
	now := time.Now().UTC().Format("2006-01-02T15:04:05-0700")
	head := http.Header{"Client-Id": {clientID}, "Request-Time": {now}}
	head.Set("Content-Type", "application/json; charset=UTF-8")
	aesKey := random(32)
	if encrypted { // first, so that the signature covers what is sent
		body = encrypt(aesKey, body)
		head.Set("Encrypt", "algorithm=RSA_AES, symmetricKey="+wrap(serverKey, aesKey))
		head.Set("Content-Type", "text/plain; charset=UTF-8")
	}
	signature := sign(merchantKey, contentToBeSigned(clientID, now, body))
	head.Set("Signature", "algorithm=RSA256, signature="+signature)

	head, body, err := post(address, head, body)
	if err != nil {
		fail("no response (%v): check VISAVIS_URL and the server", err)
	}
	content := contentToBeSigned(clientID, head.Get("Response-Time"), body)
	if verify(serverKey, head.Get("Signature"), content) != nil {
		fail("the response's signature does not verify: " +
			"take VISAVIS_CLIENT_ID and VISAVIS_SERVER_PUBLIC_KEY from the same client file")
	}
	// A refusal can be in clear even if the request was not. What is encrypted is so under the key
	// that was sent: Visavis always reuses it, and the own copy of the response need not be unwrapped.
	if head.Get("Encrypt") != "" {
		return decrypt(aesKey, body)
	}
	return body
}

func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	if fallback == "" {
		fail("%s is not set: export it from the client file, see README.md", name)
	}
	return fallback
}

func key[K any](name string, parse func([]byte) (any, error)) K {
	der, _ := base64.StdEncoding.DecodeString(setting(name, "")) // what is no base64 is no key either
	parsed, _ := parse(der)
	key, isRSA := parsed.(K)
	if !isRSA {
		fail("%s is no RSA key: copy it whole from the client file", name)
	}
	return key
}

func requestJSON(photos []string) []byte {
	// A version 4 UUID without hyphens, as bizId is at most 32 bytes by the documents.
	id := random(16)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	request := map[string]any{"bizId": fmt.Sprintf("%x", id)}
	for i, photo := range photos {
		content, err := os.ReadFile(photo)
		if err != nil {
			fail("%v: check the path of the photo", err)
		}
		// encoding/json writes bytes as base64.
		request[fmt.Sprintf("face%d", i+1)] = map[string][]byte{"content": content}
	}
	return must(json.Marshal(request))
}

func random(length int) []byte {
	drawn := make([]byte, length)
	must(rand.Read(drawn))
	return drawn
}

// The body as bytes, exactly as on the wire: parsed and printed again it would be another text.
func contentToBeSigned(clientID, time string, body []byte) []byte {
	return append([]byte("POST "+uri+"\n"+clientID+"."+time+"."), body...)
}

func sign(key *rsa.PrivateKey, content []byte) string {
	digest := sha256.Sum256(content)
	return headerValue(must(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])))
}

func verify(key *rsa.PublicKey, header string, content []byte) error {
	_, value, _ := strings.Cut(header, "signature=")
	value, _, _ = strings.Cut(value, ",")
	value, _ = url.PathUnescape(value) // QueryUnescape would turn a bare + into a space
	signature, _ := base64.StdEncoding.DecodeString(value)
	digest := sha256.Sum256(content)
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
}

func wrap(key *rsa.PublicKey, aesKey []byte) string {
	return headerValue(must(rsa.EncryptPKCS1v15(rand.Reader, key, aesKey)))
}

// Percent-encoded, because some parser on the way reads a bare + as a space and loses a bare =.
func headerValue(value []byte) string {
	return url.QueryEscape(base64.StdEncoding.EncodeToString(value))
}

// AES-ECB with PKCS#7 padding. The standard library leaves ECB out, as new protocols should.
func encrypt(key, plain []byte) []byte {
	padding := aes.BlockSize - len(plain)%aes.BlockSize
	blocks := append(plain, bytes.Repeat([]byte{byte(padding)}, padding)...)
	cipher := must(aes.NewCipher(key))
	for i := 0; i < len(blocks); i += aes.BlockSize {
		cipher.Encrypt(blocks[i:], blocks[i:])
	}
	return []byte(base64.StdEncoding.EncodeToString(blocks))
}

// decrypt returns nil, which is no result, for what does not decrypt.
func decrypt(key, body []byte) []byte {
	blocks, err := base64.StdEncoding.DecodeString(string(body))
	if err != nil || len(blocks)%aes.BlockSize != 0 {
		return nil
	}
	cipher := must(aes.NewCipher(key))
	for i := 0; i < len(blocks); i += aes.BlockSize {
		cipher.Decrypt(blocks[i:], blocks[i:])
	}
	if len(blocks) == 0 || int(blocks[len(blocks)-1]) > aes.BlockSize {
		return nil
	}
	return blocks[:len(blocks)-int(blocks[len(blocks)-1])]
}

func post(address string, head http.Header, body []byte) (http.Header, []byte, error) {
	request, err := http.NewRequest(http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	request.Header = head
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s returns HTTP %s, is a proxy in between?", address, response.Status)
	}
	received, err := io.ReadAll(response.Body)
	return response.Header, received, err
}
