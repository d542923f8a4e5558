// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"errors"
	"net/netip"
	"testing"

	"fairlead.dev/fairlead/runtime/config"
)

func TestGuardCheck(t *testing.T) {
	t.Parallel()
	const nobody, everybody, inside = "never", "always", "inside"
	for _, tt := range []struct{ name, addr, want string }{
		{name: "public", addr: "93.184.216.34", want: everybody},
		{name: "public IPv6", addr: "2606:2800:220:1::1", want: everybody},
		{name: "RFC 1918, 10/8", addr: "10.0.0.1", want: inside},
		{name: "RFC 1918, 172.16/12", addr: "172.31.255.255", want: inside},
		{name: "beyond 172.16/12", addr: "172.32.0.1", want: everybody},
		{name: "RFC 1918, 192.168/16", addr: "192.168.1.1", want: inside},
		{name: "shared", addr: "100.64.1.1", want: inside},
		{name: "unique local", addr: "fd12:3456::1", want: inside},
		{name: "loopback", addr: "127.0.0.1", want: nobody},
		{name: "loopback, other end", addr: "127.255.255.254", want: nobody},
		{name: "loopback IPv6", addr: "::1", want: nobody},
		{name: "unspecified", addr: "0.0.0.0", want: nobody},
		{name: "this network", addr: "0.1.2.3", want: nobody},
		{name: "unspecified IPv6", addr: "::", want: nobody},
		{name: "link-local", addr: "169.254.1.1", want: nobody},
		{name: "metadata", addr: "169.254.169.254", want: nobody},
		{name: "metadata IPv6", addr: "fd00:ec2::254", want: nobody},
		{name: "metadata IPv6 of a second cloud", addr: "fd20:ce::254", want: nobody},
		{name: "metadata IPv6 of a third cloud", addr: "fd00:c1::a9fe:a9fe", want: nobody},
		{name: "metadata in the shared range", addr: "100.100.100.200", want: nobody},
		{name: "metadata at a public address", addr: "168.63.129.16", want: nobody},
		{name: "metadata in protocol assignments", addr: "192.0.0.192", want: nobody},
		{name: "link-local IPv6", addr: "fe80::1", want: nobody},
		{name: "site-local IPv6", addr: "fec0::1", want: nobody},
		{name: "multicast", addr: "224.0.0.1", want: nobody},
		{name: "multicast IPv6", addr: "ff02::1", want: nobody},
		{name: "broadcast", addr: "255.255.255.255", want: nobody},
		{name: "reserved", addr: "240.0.0.1", want: nobody},
		{name: "documentation", addr: "192.0.2.1", want: nobody},
		{name: "documentation IPv6", addr: "2001:db8::1", want: nobody},
		{name: "benchmarks", addr: "198.18.0.1", want: nobody},
		{name: "mapped loopback", addr: "::ffff:127.0.0.1", want: nobody},
		{name: "mapped public", addr: "::ffff:93.184.216.34", want: nobody},
		{name: "mapped private", addr: "::ffff:10.0.0.1", want: nobody},
		{name: "compatible", addr: "::127.0.0.1", want: nobody},
		{name: "translated", addr: "::ffff:0:127.0.0.1", want: nobody},
		{name: "NAT64 of loopback", addr: "64:ff9b::7f00:1", want: nobody},
		{name: "NAT64 of public", addr: "64:ff9b::5db8:d822", want: nobody},
		{name: "local NAT64", addr: "64:ff9b:1::7f00:1", want: nobody},
		{name: "6to4 of loopback", addr: "2002:7f00:1::1", want: nobody},
		{name: "Teredo", addr: "2001:0:4136:e378::1", want: nobody},
		{name: "zone", addr: "fd12:3456::1%lo", want: nobody},
		{name: "zone on loopback", addr: "::1%lo", want: nobody},
		{name: "the API server", addr: "10.96.0.1", want: nobody},
	} {
		for _, network := range []string{config.NetworkPublic, config.NetworkCluster, config.NetworkPrivate} {
			t.Run(tt.name+" "+network, func(t *testing.T) {
				t.Parallel()
				err := newGuard(network, false, "10.96.0.1").check(netip.MustParseAddr(tt.addr))
				want := tt.want == everybody || tt.want == inside && network != config.NetworkPublic
				if (err == nil) != want || err != nil && !errors.Is(err, errBlocked) {
					t.Errorf("check(%s) = %v, want allowed %t", tt.addr, err, want)
				}
			})
		}
	}
}

func TestGuardLoopbackAllowed(t *testing.T) {
	t.Parallel()
	g := newGuard(config.NetworkPublic, true, "")
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "127.8.9.1": true, "::1": true, "93.184.216.34": true,
		"::ffff:127.0.0.1": false, "::1%lo": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "169.254.169.254": false,
	} {
		if err := g.check(netip.MustParseAddr(addr)); (err == nil) != want {
			t.Errorf("check(%s) = %v, want allowed %t", addr, err, want)
		}
	}
}

func TestGuardAPIServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		server, addr string
		want         bool
	}{
		{server: "34.1.2.3", addr: "34.1.2.3"},
		{server: "::ffff:34.1.2.3", addr: "34.1.2.3"},
		{server: "fd00:10:96::1", addr: "fd00:10:96::1"},
		{server: "", addr: "34.1.2.3", want: true},
		{server: "not an address", addr: "34.1.2.3", want: true},
		{server: "34.1.2.3", addr: "34.1.2.4", want: true},
	} {
		err := newGuard(config.NetworkCluster, true, tt.server).check(netip.MustParseAddr(tt.addr))
		if (err == nil) != tt.want {
			t.Errorf("API server %q: check(%s) = %v, want allowed %t", tt.server, tt.addr, err, tt.want)
		}
	}
}

func TestGuardControl(t *testing.T) {
	t.Parallel()
	g := newGuard(config.NetworkPublic, false, "")
	for _, tt := range []struct {
		network, address string
		want             bool
	}{
		{network: "tcp4", address: "93.184.216.34:443", want: true},
		{network: "tcp6", address: "[2606:2800:220:1::1]:443", want: true},
		{network: "udp4", address: "93.184.216.34:443"},
		{network: "unix", address: "/run/x.sock"},
		{network: "tcp4", address: "localhost:80"},
		{network: "tcp4", address: "93.184.216.34"},
		{network: "tcp4", address: "127.0.0.1:443"},
	} {
		if err := g.control(tt.network, tt.address, nil); (err == nil) != tt.want {
			t.Errorf("control(%s, %s) = %v, want allowed %t", tt.network, tt.address, err, tt.want)
		}
	}
}
