// Sums prints the SHA-256 of the files that are named, as sha256sum does it: several at once, in the order of the
// command line.
package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
)

type sum struct {
	digest []byte
	err    error
}

func main() {
	sums := make([]chan sum, len(os.Args)-1)
	for i, name := range os.Args[1:] {
		sums[i] = make(chan sum, 1)
		go func(name string, to chan<- sum) {
			digest, err := digestOf(name)
			to <- sum{digest, err}
		}(name, sums[i])
	}
	code := 0
	for i, name := range os.Args[1:] {
		sum := <-sums[i]
		if sum.err != nil {
			fmt.Fprintln(os.Stderr, "sums:", sum.err)
			code = 1
			continue
		}
		fmt.Printf("%x  %s\n", sum.digest, name)
	}
	os.Exit(code)
}

func digestOf(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return nil, err
	}
	return hash.Sum(nil), nil
}
