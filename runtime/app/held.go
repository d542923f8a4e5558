// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"fairlead.dev/fairlead/runtime/config"
	"fairlead.dev/fairlead/runtime/internal/admin"
	"fairlead.dev/fairlead/runtime/internal/auth"
	"fairlead.dev/fairlead/runtime/internal/tool/httpcall"
	"fairlead.dev/fairlead/runtime/keyring"
)

// held is what is known of the Secrets that are mounted. It is immutable.
type held struct {
	keyIDs   []string
	problems []admin.Problem
}

// loadRing reads the session keys. A ring that is broken or has gone leaves the
// one before in force, with an error; none at all, since there never was one, is
// no error.
func (s *server) loadRing() (keyring.Ring, error) {
	if s.options.SessionKeysDir == "" {
		return keyring.Ring{}, nil
	}
	ring, err := keyring.Load(s.options.SessionKeysDir)
	switch {
	case err == nil:
		return ring, nil
	case errors.Is(err, fs.ErrNotExist) && s.ring == (keyring.Ring{}):
		return keyring.Ring{}, nil
	default:
		return s.ring, err
	}
}

// hold notes what the Secrets are worth now, and logs what is wrong with them
// when that changes.
func (s *server) hold(ctx context.Context, keys auth.Report, ringErr error) {
	now := &held{keyIDs: s.ring.IDs(), problems: problems(s.config, s.options, keys, ringErr)}
	before := s.held.Swap(now)
	if before == nil {
		before = &held{}
	}
	if !slices.Equal(before.keyIDs, now.keyIDs) {
		s.logger.InfoContext(ctx, "Took session keys", "keyIDs", now.keyIDs)
	}
	for _, p := range now.problems {
		if !slices.Contains(before.problems, p) {
			s.logger.WarnContext(ctx, "Found a problem with a Secret", "code", p.Code, "secret", p.Secret, "key", p.Key, "reason", p.Message)
		}
	}
	s.metrics.SetProblems(len(now.problems))
}

// problems lists what is wrong with the Secrets that are needed, at most
// admin.MaxProblems: the session keys, the callers' keys, and what the tools send.
func problems(c *config.Server, o Options, keys auth.Report, ringErr error) []admin.Problem {
	all := []admin.Problem{}
	if ringErr != nil {
		all = append(all, ringProblem(ringErr))
	}
	for _, p := range keys.Problems {
		code := admin.SecretInvalid
		if p.Missing() {
			code = admin.SecretMissing
		}
		all = append(all, admin.Problem{Code: code, Secret: p.Secret, Key: p.Entry, Message: p.Error()})
	}
	all = append(all, toolProblems(c, o.SecretsDir)...)
	return all[:min(len(all), admin.MaxProblems)]
}

func ringProblem(err error) admin.Problem {
	return admin.Problem{
		Code:    keyring.ProblemCode,
		Message: "the session keys cannot be read, those from before stay in force: " + reason(err) + "; nothing needs to be done, the operator writes them again",
	}
}

// reason is that of a file error without the path, which is a detail of the pod.
func reason(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}

// toolProblems checks each Secret's key once, however many tools send it.
func toolProblems(c *config.Server, secretsDir string) []admin.Problem {
	var all []admin.Problem
	place := map[config.SecretKeyRef]int{}
	others := map[int]int{}
	for i := range c.Tools {
		t := &c.Tools[i]
		if t.HTTP == nil || t.State == config.StateDisabled {
			continue
		}
		for _, h := range t.HTTP.HeadersFrom {
			if at, seen := place[h.SecretKeyRef]; seen {
				others[at]++
				continue
			}
			place[h.SecretKeyRef] = -1
			found := httpcall.CheckSecret(secretsDir, h.SecretKeyRef)
			if found == nil {
				continue
			}
			place[h.SecretKeyRef] = len(all)
			all = append(all, toolProblem(t.Name, h, found))
		}
	}
	for i := range all {
		if n := others[i]; n > 0 {
			all[i].Message += fmt.Sprintf(" (%d more uses of this key fail too)", n)
		}
	}
	return all
}

func toolProblem(tool string, h config.SecretHeader, found *httpcall.SecretProblem) admin.Problem {
	p := admin.Problem{Code: admin.SecretInvalid, Secret: h.SecretKeyRef.Name, Key: h.SecretKeyRef.Key}
	act := "correct it"
	if found.Missing {
		p.Code, act = admin.SecretMissing, "create it"
	}
	p.Message = fmt.Sprintf("tool %q cannot send the header %s: key %q of Secret %q %s; %s, until then its calls fail",
		tool, h.Name, p.Key, p.Secret, found.Reason, act)
	return p
}
