// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"fairlead.dev/fairlead/runtime/config"
)

// errBlocked is why a dial was refused. The text around it names the address
// and is for logs only.
var errBlocked = errors.New("address is not permitted")

// guard judges the addresses that a backend's name resolves to, after the
// resolution and for each dial, so that a name whose address changes in between
// gains nothing. config.ClassifyAddress says what an address is, as it does for
// literal hosts at compilation.
type guard struct {
	network       string
	allowLoopback bool
	// apiServer is the Kubernetes API server's address; the zero value is none.
	apiServer netip.Addr
}

// newGuard returns a guard for a network of the contract. apiServer is
// KUBERNETES_SERVICE_HOST, which is always an address or empty.
func newGuard(network string, allowLoopback bool, apiServer string) *guard {
	g := &guard{network: network, allowLoopback: allowLoopback}
	if addr, err := netip.ParseAddr(apiServer); err == nil {
		g.apiServer = addr.Unmap()
	}
	return g
}

// control is a net.Dialer's Control.
func (g *guard) control(network, address string, _ syscall.RawConn) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("failed to dial over %q: %w", network, errBlocked)
	}
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("failed to read the address %q: %w", address, errBlocked)
	}
	return g.check(target.Addr())
}

// check refuses an address.
func (g *guard) check(addr netip.Addr) error {
	blocked := func(reason string) error {
		return fmt.Errorf("failed to dial %s, which is %s: %w for network %s", addr, reason, errBlocked, g.network)
	}
	class, what := config.ClassifyAddress(addr)
	if class == config.AddressLoopback && g.allowLoopback {
		return nil
	}
	if g.apiServer.IsValid() && addr.Unmap() == g.apiServer {
		return blocked("the Kubernetes API server's")
	}
	private := g.network == config.NetworkCluster || g.network == config.NetworkPrivate
	if class == config.AddressPublic || class == config.AddressPrivate && private {
		return nil
	}
	return blocked(what)
}
