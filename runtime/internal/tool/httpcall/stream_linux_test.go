// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall_test

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"syscall"
	"testing"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/tool"
	"fairlead.dev/fairlead/runtime/internal/tool/httpcall"
)

// The kernel must not pile up megabytes of a stream whose client does not keep up.
func TestAStreamFillsNoLargeBuffer(t *testing.T) {
	t.Parallel()
	url := backend(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		send(w, "{}\n")
	})
	var size int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		raw, err := info.Conn.(*net.TCPConn).SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { size, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF) })
		}
		if err != nil {
			t.Error(err)
		}
	}})
	executor := httpcall.New(compile(t, config.HTTP{URL: url, Response: config.HTTPResponse{Stream: config.StreamNDJSON}}), options(t))
	defer executor.Close()
	if _, err := executor.Run(ctx, tool.Call{}, &recorder{}); err != nil {
		t.Fatal(err)
	}
	// The kernel doubles what it is asked for.
	if size < 32<<10 || size > 64<<10 {
		t.Errorf("the kernel takes %d bytes of a stream before they are read, want up to 64 KiB", size)
	}
}
