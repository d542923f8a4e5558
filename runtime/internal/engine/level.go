// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

// level is one of the severities of RFC 5424 in MCP's spelling; a higher one is
// more severe. The zero value is none.
type level uint8

const (
	levelDebug level = iota + 1
	levelInfo
	levelNotice
	levelWarning
	levelError
	levelCritical
	levelAlert
	levelEmergency
)

func parseLevel(s string) (l level, ok bool) {
	switch s {
	case "debug":
		return levelDebug, true
	case "info":
		return levelInfo, true
	case "notice":
		return levelNotice, true
	case "warning":
		return levelWarning, true
	case "error":
		return levelError, true
	case "critical":
		return levelCritical, true
	case "alert":
		return levelAlert, true
	case "emergency":
		return levelEmergency, true
	default:
		return 0, false
	}
}

const levelNames = "debug, info, notice, warning, error, critical, alert, emergency"
