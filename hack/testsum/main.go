// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command testsum reads the events of `go test -json` and prints what `go test` would: a line for each package, and
// all that a failed one said. It counts the tests, and takes a skipped test for a failed one, since nobody reads
// what was left out.
//
//	go test -json ./... | testsum                 prints the results, and "N passed, N failed" as the last line
//	go test -json ./... | testsum -verbose        also prints what each test said that passed, such as measurements
//	go test -json ./... | testsum -summary FILE   prints the results, and adds the counts to FILE
//	go test -json ./... | testsum -digest FILE    prints the results, and adds to FILE what the failed tests said in short
//	testsum -total FILE                           prints the sum of the counts in FILE, as the last line
//
// What a test says of its surroundings in a message that begins with "dump: " comes before all else that it said, and
// is left out of the digest.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// maxKept bounds what is kept of the output of one package, in bytes; more is cut at its beginning.
const maxKept = 1 << 20

// errFailed says that a test failed or was skipped, or that a package did not build.
var errFailed = errors.New("not all tests passed")

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		if !errors.Is(err, errFailed) {
			fmt.Fprintln(os.Stderr, "testsum:", err)
		}
		os.Exit(1)
	}
}

// run reads the flags and does what they say.
func run(arguments []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("testsum", flag.ContinueOnError)
	summary := flags.String("summary", "", "file to add the counts to")
	verbose := flags.Bool("verbose", false, "print what passed tests said too, as each ends")
	digest := flags.String("digest", "", "file to add what failed tests said to, in few lines")
	total := flags.String("total", "", "print the sum of the counts in this file and do nothing else")
	if err := flags.Parse(arguments); err != nil {
		return fmt.Errorf("failed to read the flags: %w", err)
	}
	if *total != "" {
		return printTotal(*total, out)
	}
	c := collector{out: out, verbose: *verbose, packages: map[string]*packageState{}}
	if err := c.read(in); err != nil {
		return err
	}
	if *digest != "" {
		if err := add(*digest, c.digest.String()); err != nil {
			return fmt.Errorf("failed to write the digest: %w", err)
		}
	}
	if *summary == "" {
		return printCounts(out, c.passed, c.failed)
	}
	if err := appendCounts(*summary, c.passed, c.failed); err != nil {
		return err
	}
	if c.failed > 0 {
		return errFailed
	}
	return nil
}

// event is one line of `go test -json` (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
	Elapsed    float64
}

// packageState is what is known of a package that is still running.
type packageState struct {
	// output holds what each test that has not passed said, and under "" what the package itself said.
	output map[string][]string
	// order lists the keys of output in the order of their first line.
	order  []string
	size   int
	tests  int
	failed int
	// crashed is set once the program dies: what it then says counts for whichever test it is attributed to.
	crashed bool
	skipped []string
	// last is the line that ends the package: "ok  	fairlead.dev/...	0.1s".
	last string
}

// collector turns events into lines and counts.
type collector struct {
	out            io.Writer
	verbose        bool
	packages       map[string]*packageState
	passed, failed int
	digest         digest
}

// read takes events until the end; what is no event (a message of the go command) is printed as it is.
func (c *collector) read(in io.Reader) error {
	reader := bufio.NewReader(in)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) == nil && e.Action != "" {
				c.take(e)
			} else {
				c.print(string(line))
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("failed to read the events: %w", err)
		}
	}
	// A package without an end: the go command was killed.
	for name, p := range c.packages {
		c.digest.add(p)
		c.print(p.text() + "FAIL\t" + name + "\tnever ended\n")
		c.failed++
	}
	return nil
}

// take handles one event.
func (c *collector) take(e event) {
	switch e.Action {
	case "build-output":
		c.print(e.Output)
		return
	case "build-fail":
		return
	}
	if e.Package == "" {
		// test2json was not told which package it reads.
		e.Package = "tests"
	}
	p := c.packages[e.Package]
	if p == nil {
		p = &packageState{output: map[string][]string{}}
		c.packages[e.Package] = p
	}
	switch {
	case e.Action == "output":
		p.keep(e)
	case e.Test != "":
		c.count(p, e)
	case e.Action == "pass" || e.Action == "fail" || e.Action == "skip":
		c.end(e, p)
		delete(c.packages, e.Package)
	}
}

// count counts the end of one test.
func (c *collector) count(p *packageState, e event) {
	switch e.Action {
	case "pass":
		p.tests++
		c.passed++
		if !p.crashed {
			if c.verbose {
				c.print(strings.Join(p.output[e.Test], ""))
			}
			p.forget(e.Test)
		}
	case "fail":
		p.tests++
		p.failed++
		c.failed++
	case "skip":
		p.tests++
		p.skipped = append(p.skipped, e.Test)
		c.failed++
	}
}

// keep keeps a line of output for the case that the package fails.
func (p *packageState) keep(e event) {
	switch {
	case strings.HasPrefix(e.Output, "=== ") || e.Output == "FAIL\n" || e.Output == "PASS\n":
		return
	case e.Test == "" && (strings.HasPrefix(e.Output, "ok  \t") || strings.HasPrefix(e.Output, "FAIL\t") || strings.HasPrefix(e.Output, "?   \t")):
		p.last = e.Output
		return
	}
	if strings.HasPrefix(e.Output, "panic: ") || strings.HasPrefix(e.Output, "fatal error: ") {
		p.crashed = true
	}
	if _, ok := p.output[e.Test]; !ok {
		p.order = append(p.order, e.Test)
	}
	if len(e.Output) > maxKept {
		e.Output = e.Output[len(e.Output)-maxKept:]
	}
	p.output[e.Test] = append(p.output[e.Test], e.Output)
	p.size += len(e.Output)
	p.trim()
}

// trim drops the oldest lines above the bound.
func (p *packageState) trim() {
	for i := 0; p.size > maxKept && i < len(p.order); i++ {
		lines := p.output[p.order[i]]
		for p.size > maxKept && len(lines) > 0 {
			p.size -= len(lines[0])
			lines = lines[1:]
		}
		p.output[p.order[i]] = lines
	}
}

// forget drops what a test said, since it passed.
func (p *packageState) forget(test string) {
	for _, line := range p.output[test] {
		p.size -= len(line)
	}
	delete(p.output, test)
	p.order = slices.DeleteFunc(p.order, func(t string) bool { return t == test })
}

// text is all that was kept.
func (p *packageState) text() string {
	var b strings.Builder
	for _, test := range p.order {
		said, dumped := divide(p.output[test])
		b.WriteString(strings.Join(dumped, ""))
		b.WriteString(strings.Join(said, ""))
	}
	return b.String()
}

// end prints a package that ended.
func (c *collector) end(e event, p *packageState) {
	if e.Action == "fail" {
		c.digest.add(p)
		if p.failed == 0 && len(p.skipped) == 0 {
			// It did not build, or died outside of a test.
			c.failed++
		}
		c.print(p.text())
	}
	for _, name := range p.skipped {
		c.print("--- SKIP: " + name + " (counted as failed)\n")
	}
	// Packages without tests say nothing worth a line.
	if p.tests == 0 && e.Action != "fail" {
		return
	}
	if p.last == "" {
		// A test program alone, without the go command, does not say it.
		p.last = fmt.Sprintf("%s\t%s\t%.3fs\n", map[string]string{"pass": "ok  ", "fail": "FAIL", "skip": "?   "}[e.Action], e.Package, e.Elapsed)
	}
	c.print(p.last)
}

// print writes text; a terminal that is gone is no reason to stop counting.
func (c *collector) print(text string) {
	_, _ = io.WriteString(c.out, text)
}

// appendCounts adds a line of counts to a file.
func appendCounts(path string, passed, failed int) error {
	if err := add(path, fmt.Sprintf("%d %d\n", passed, failed)); err != nil {
		return fmt.Errorf("failed to write the summary: %w", err)
	}
	return nil
}

// add adds text to a file.
func add(path, text string) error {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// printTotal prints the sum of all counts in a file.
func printTotal(path string, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("failed to open the summary: %w", err)
	}
	defer func() { _ = file.Close() }()
	var passed, failed int
	for {
		var p, f int
		_, err := fmt.Fscanln(file, &p, &f)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("failed to read the summary: %w", err)
		}
		passed, failed = passed+p, failed+f
	}
	return printCounts(out, passed, failed)
}

// printCounts prints the last line. That no test ran at all is a failure too.
func printCounts(out io.Writer, passed, failed int) error {
	if _, err := fmt.Fprintf(out, "%d passed, %d failed\n", passed, failed); err != nil {
		return fmt.Errorf("failed to print: %w", err)
	}
	if failed > 0 || passed == 0 {
		return errFailed
	}
	return nil
}
