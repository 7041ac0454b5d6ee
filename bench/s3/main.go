// What the benchmarks need beside an S3 server: a proxy that counts its
// requests and delays or fails them, and a client without a file system.
//
//	s3 proxy TARGET                       serves until killed; prints its two addresses
//	s3 put ENDPOINT BUCKET/KEY FILE       writes an object
//	s3 get ENDPOINT BUCKET/KEY [-n GETS] [-size BYTES] [-jobs N] [-part BYTES]
//
// `get` prints seconds: of the whole object in parallel ranges, or of so many
// GETs one after the other.
package main

import (
	"fmt"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"proxy": proxy, "put": put, "get": get}
	if len(os.Args) < 3 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: s3 proxy TARGET | put ENDPOINT PATH FILE | get ENDPOINT PATH")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "error: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}
