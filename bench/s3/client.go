package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

func digest(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// Signs a request as AWS's version 4 wants it, without its body.
func sign(r *http.Request) {
	region, secret := os.Getenv("AWS_REGION"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	now := time.Now().UTC()
	stamp, day := now.Format("20060102T150405Z"), now.Format("20060102")
	scope := day + "/" + region + "/s3/aws4_request"
	const signed = "host;x-amz-content-sha256;x-amz-date"
	r.Header.Set("X-Amz-Date", stamp)
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	headers := "host:" + r.URL.Host + "\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:" + stamp + "\n"
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers,
		signed, "UNSIGNED-PAYLOAD"}, "\n")
	sum := sha256.Sum256([]byte(canonical))
	text := "AWS4-HMAC-SHA256\n" + stamp + "\n" + scope + "\n" + hex.EncodeToString(sum[:])
	key := []byte("AWS4" + secret)
	for _, part := range []string{day, region, "s3", "aws4_request"} {
		key = digest(key, part)
	}
	r.Header.Set("Authorization", fmt.Sprintf(
		"AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		os.Getenv("AWS_ACCESS_KEY_ID"), scope, signed, hex.EncodeToString(digest(key, text))))
}

var client = &http.Client{Transport: &http.Transport{
	MaxIdleConnsPerHost: 256, DisableCompression: true, ReadBufferSize: 1 << 18,
}}

// Sends a request, reads its answer into nothing, returns the length.
func send(method, url, span string, body io.Reader, length int64) (int64, error) {
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		return 0, err
	}
	r.ContentLength = length
	if span != "" {
		r.Header.Set("Range", span)
	}
	sign(r)
	answer, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		why, _ := io.ReadAll(answer.Body)
		return 0, fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, why)
	}
	if method == http.MethodHead {
		return answer.ContentLength, nil
	}
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, answer.Body, make([]byte, 1<<20))
}

// An object, or with an empty FILE a bucket.
func put(arguments []string) error {
	url := arguments[0] + "/" + arguments[1]
	if len(arguments) < 3 {
		_, err := send(http.MethodPut, url, "", bytes.NewReader(nil), 0)
		return err
	}
	file, err := os.Open(arguments[2])
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	_, err = send(http.MethodPut, url, "", file, info.Size())
	return err
}

func get(arguments []string) error {
	url := arguments[0] + "/" + arguments[1]
	flags := flag.NewFlagSet("get", flag.ExitOnError)
	count := flags.Int("n", 0, "that many GETs one after the other")
	jobs := flags.Int("jobs", 8, "ranges at a time")
	part := flags.Int64("part", 8<<20, "bytes of a range")
	_ = flags.Parse(arguments[2:])
	size, err := send(http.MethodHead, url, "", nil, 0)
	if err != nil {
		return err
	}
	began := time.Now()
	for range *count {
		if _, err := send(http.MethodGet, url, "", nil, 0); err != nil {
			return err
		}
	}
	if *count == 0 {
		err = ranges(url, size, *part, *jobs)
	}
	fmt.Println(time.Since(began).Seconds())
	return err
}

func ranges(url string, size, part int64, jobs int) error {
	var next, got atomic.Int64
	var failed atomic.Value
	var all sync.WaitGroup
	for range jobs {
		all.Go(func() {
			for at := next.Add(part) - part; at < size; at = next.Add(part) - part {
				span := fmt.Sprintf("bytes=%d-%d", at, min(at+part, size)-1)
				n, err := send(http.MethodGet, url, span, nil, 0)
				if err != nil {
					failed.Store(err)
					return
				}
				got.Add(n)
			}
		})
	}
	all.Wait()
	if err, _ := failed.Load().(error); err != nil {
		return err
	}
	if got.Load() != size {
		return fmt.Errorf("%d bytes instead of %d", got.Load(), size)
	}
	return nil
}
