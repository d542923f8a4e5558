// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"

	"fairlead.dev/fairlead/runtime/config"
)

// errBlocked is why a dial was refused. The text around it names the address
// and is for logs only.
var errBlocked = errors.New("address is not permitted")

// never are the prefixes that no network permits, whatever a name resolves to.
// Loopback is apart, since a server at a terminal may reach it.
var never = prefixes(
	"0.0.0.0/8",          // this host
	"169.254.0.0/16",     // link-local; the clouds' metadata at 169.254.169.254
	"192.0.0.0/24",       // protocol assignments; a cloud's metadata at 192.0.0.192
	"100.100.100.200/32", // a cloud's metadata inside the shared range
	"168.63.129.16/32",   // a cloud's agent at a public address
	"224.0.0.0/4",        // multicast
	"240.0.0.0/4",        // reserved, and broadcast
	"::/96",              // unspecified, loopback (see above) and IPv4-compatible
	"::ffff:0:0/96",      // IPv4-mapped: the kernel would reach the IPv4 address
	"::ffff:0:0:0/96",    // IPv4-translated
	"64:ff9b::/96",       // NAT64 (RFC 6052): a gateway would reach the IPv4 address
	"64:ff9b:1::/48",     // local NAT64 (RFC 8215)
	"2001::/32",          // Teredo: holds an IPv4 address
	"2002::/16",          // 6to4: holds an IPv4 address
	"fd00:ec2::/32",      // a cloud's metadata at fd00:ec2::254
	"fd20:ce::254/128",   // a cloud's metadata
	"fd00:c1::/32",       // a cloud's metadata at fd00:c1::a9fe:a9fe
	"fe80::/10",          // link-local
	"fec0::/10",          // site-local
	"ff00::/8",           // multicast
)

// private are the ranges that clusters and companies use inside: RFC 1918, the
// shared range of RFC 6598, which some clouds give to pods, and RFC 4193.
var (
	privateV4 = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
	privateV6 = prefixes("fc00::/7")
)

// guard judges the addresses that a backend's name resolves to, after the
// resolution and for each dial, so that a name whose address changes in between
// gains nothing.
type guard struct {
	network       string
	allowLoopback bool
	// apiServer is the Kubernetes API server's address; the zero value is none.
	apiServer netip.Addr
	// safe refuses what is not globally routable (the IANA special-purpose
	// registries), but for the private ranges that network permits.
	safe *ssrf.Guardian
}

// newGuard returns a guard for a network of the contract. apiServer is
// KUBERNETES_SERVICE_HOST, which is always an address or empty.
func newGuard(network string, allowLoopback bool, apiServer string) *guard {
	options := []ssrf.Option{ssrf.WithAnyPort()}
	if network == config.NetworkCluster || network == config.NetworkPrivate {
		options = append(options, ssrf.WithAllowedV4Prefixes(privateV4...), ssrf.WithAllowedV6Prefixes(privateV6...))
	}
	g := &guard{network: network, allowLoopback: allowLoopback, safe: ssrf.New(options...)}
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
	if !addr.IsValid() || addr.Zone() != "" {
		// No prefix contains an address with a zone, so it would pass them all.
		return blocked("not an address or has a zone")
	}
	if addr.IsLoopback() && !addr.Is4In6() {
		if g.allowLoopback {
			return nil
		}
		return blocked("a loopback address")
	}
	if g.apiServer.IsValid() && addr.Unmap() == g.apiServer {
		return blocked("the Kubernetes API server's")
	}
	for _, p := range never {
		if p.Contains(addr) {
			return blocked("in " + p.String())
		}
	}
	if err := g.safe.SafeAddr(addr); err != nil {
		return blocked("private or reserved")
	}
	return nil
}

// prefixes parses literals.
func prefixes(literals ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(literals))
	for i, s := range literals {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
