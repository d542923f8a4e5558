// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"fairlead.dev/fairlead/runtime/internal/tool"
)

// unreachable explains why no answer came. The text for clients has no address:
// only the log may say where a name led.
func (e *Executor) unreachable(err error, secrets redactor) *tool.Error {
	return e.fail(e.reason(err), secrets.err(err))
}

// reason sorts the errors of a round trip.
func (e *Executor) reason(err error) string {
	var (
		dns         *net.DNSError
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		timeout     net.Error
	)
	switch {
	case errors.Is(err, errBlocked):
		return fmt.Sprintf("the backend's name leads to an address that network %s does not permit", e.plan.Network)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "the backend did not answer before the call ended"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "the backend's name does not exist"
	case errors.As(err, &dns):
		return "the backend's name cannot be resolved"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the backend refuses connections"
	case errors.As(err, &certificate):
		return "the backend's certificate is not valid or not trusted"
	case errors.As(err, &record):
		return "the backend does not speak TLS on this port"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "the backend cannot be reached in time"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the backend closed the connection before it answered"
	default:
		return "the request to the backend failed"
	}
}

// withTrace adds a trace to an error of this package.
func withTrace(err error, trace *tool.Trace) error {
	if known, ok := errors.AsType[*tool.Error](err); ok {
		known.Trace = trace
	}
	return err
}
