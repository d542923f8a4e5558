// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"net/netip"
	"testing"

	"fairlead.dev/fairlead/runtime/config"
)

// TestLiteralsAgree compares the verdict of compilation, which lint and the
// operator give, with that of the dial, at both sides of both ends of every
// range that either knows, in every form that holds an IPv4 address: what one
// accepts, the other accepts.
func TestLiteralsAgree(t *testing.T) {
	t.Parallel()
	var accepted, refused int
	for _, addr := range literals() {
		for _, network := range []string{config.NetworkPublic, config.NetworkPrivate} {
			for _, loopback := range []bool{false, true} {
				compiled := compileLiteral(addr, network, loopback)
				dialled := newGuard(network, loopback, "").check(addr)
				if (compiled == nil) != (dialled == nil) {
					t.Errorf("%s, network %s, loopback %t: compilation says %v, the dial %v", addr, network, loopback, compiled, dialled)
				}
				if dialled == nil {
					accepted++
				} else {
					refused++
				}
			}
		}
	}
	if accepted < 100 || refused < 100 {
		t.Errorf("%d accepted and %d refused, want at least 100 of each", accepted, refused)
	}
}

// compileLiteral compiles a server with one tool at an address.
func compileLiteral(addr netip.Addr, network string, loopback bool) error {
	url := "http://" + netip.AddrPortFrom(addr, 8080).String() + "/"
	_, err := config.CompileWith(&config.Server{
		Name: "demo", Auth: config.Auth{AnonymousAccess: config.AccessAllowed},
		Tools: []config.Tool{{Name: "t", Description: "d", HTTP: &config.HTTP{URL: url, Network: network}}},
	}, config.CompileOptions{AllowLoopback: loopback})
	return err
}

// literals returns the first and the last address of ranges, and their
// neighbours outside.
func literals() []netip.Addr {
	var out []netip.Addr
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "100.100.100.200/32", "127.0.0.0/8", "168.63.129.16/32",
		"169.254.0.0/16", "169.254.169.254/32", "172.16.0.0/12", "192.0.0.0/24", "192.0.0.192/32", "192.0.2.0/24",
		"192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
		"198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32", "8.8.8.8/32",
	} {
		for _, v4 := range edges(netip.MustParsePrefix(s)) {
			b := v4.As4()
			out = append(out, v4)
			for _, prefix := range []string{"::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::", "64:ff9b:1::", "2001::"} {
				v6 := netip.MustParseAddr(prefix).As16()
				copy(v6[12:], b[:])
				out = append(out, netip.AddrFrom16(v6))
			}
			out = append(out, netip.AddrFrom16([16]byte{0x20, 0x02, b[0], b[1], b[2], b[3], 15: 1}))
		}
	}
	for _, s := range []string{
		"::/128", "::1/128", "::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64",
		"2000::/3", "2001::/32", "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16",
		"fc00::/7", "fd00:c1::/32", "fd00:ec2::/32", "fd00:ec2::254/128", "fd20:ce::254/128", "fe80::/10", "fec0::/10",
		"ff00::/8", "2606:2800:220:1::1/128",
	} {
		out = append(out, edges(netip.MustParsePrefix(s))...)
	}
	return out
}

// edges returns the addresses at both sides of both ends of a range.
func edges(p netip.Prefix) []netip.Addr {
	first := p.Masked().Addr()
	b := first.AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	var out []netip.Addr
	for _, addr := range []netip.Addr{first.Prev(), first, last, last.Next()} {
		if addr.IsValid() {
			out = append(out, addr)
		}
	}
	return out
}
