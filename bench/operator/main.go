// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command operator measures what the operator costs: requests, time and memory
// for many servers, on a real API server with etcd. It prints one table, and
// fails if a measure misses its bar. See docs/performance.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	var s size
	flag.IntVar(&s.servers, "servers", 1000, "how many servers there are")
	flag.IntVar(&s.foreign, "foreign", 10000, "how many objects of others there are")
	flag.IntVar(&s.old, "old", 40, "how many servers an operator with kubebuilder's old defaults gets: it does about one a second")
	flag.IntVar(&s.samples, "samples", 50, "how many times a latency is measured")
	flag.DurationVar(&s.rest, "rest", time.Minute, "how long the operator is left alone")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	missed, err := run(ctx, s)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
	if missed {
		os.Exit(2)
	}
}
