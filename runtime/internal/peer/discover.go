// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// lookupTimeout bounds one look for the peers.
const lookupTimeout = 2 * time.Second

// Resolver finds the addresses of a name; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Place is one entry of a list of peers.
type Place struct {
	// Host is an address, or a name with one or many.
	Host string
	Port uint16
}

// ParsePlaces reads "host:port[,host:port...]". The error names the entry.
func ParsePlaces(list string) ([]Place, error) {
	var places []Place
	for entry := range strings.SplitSeq(list, ",") {
		host, text, err := net.SplitHostPort(strings.TrimSpace(entry))
		if err != nil {
			return nil, fmt.Errorf("failed to read the peer %q: it must be host:port: %w", entry, err)
		}
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 || host == "" {
			return nil, fmt.Errorf("failed to read the peer %q: it must be host:port, with a port from 1 to 65535", entry)
		}
		places = append(places, Place{Host: host, Port: uint16(port)})
	}
	return places, nil
}

// lookup finds all replicas that the places name. It fails if one of them cannot
// be looked up: a list that lacks some would make them seem absent.
func lookup(ctx context.Context, resolver Resolver, places []Place) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var all []netip.AddrPort
	for _, p := range places {
		addrs := make([]netip.Addr, 1)
		var err error
		if addrs[0], err = netip.ParseAddr(p.Host); err != nil {
			addrs, err = resolver.LookupNetIP(ctx, "ip", p.Host)
		}
		if err != nil {
			return nil, fmt.Errorf("failed to look up the peers at %q: %w", p.Host, err)
		}
		for _, a := range addrs[:min(len(addrs), maxMembers)] {
			all = append(all, netip.AddrPortFrom(a.Unmap(), p.Port))
		}
	}
	return all, nil
}
