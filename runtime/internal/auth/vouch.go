// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package auth

// Vouch gives the principal whom another replica has let in as this replica's own
// rules know it now, with the roles that it has here: the other may not have read
// yet that they have changed. Whoever is not let in here is refused with an *Error;
// the verifier always is, since it has no sessions.
func (k *Keys) Vouch(p Principal) (Principal, error) {
	state := k.state.Load()
	if p.Anonymous && p.Key == AnonymousKey && state.anonymous {
		return Anonymous(), nil
	}
	if e := state.byName[p.Key]; e != nil && !p.Anonymous && !p.Verifier {
		return e.principal, nil
	}
	return Principal{}, invalid("the credentials are not valid on the replica that has this session")
}
