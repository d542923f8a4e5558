// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Conditions of an MCPServer. Every message names the field and the next act.
const (
	// ConditionAccepted is True when the spec compiles and was applied; False
	// names the field that is wrong, and the last accepted configuration keeps
	// serving; Unknown while the server is paused.
	ConditionAccepted = "Accepted"
	// ConditionAvailable is True while pods answer, of whichever generation.
	ConditionAvailable = "Available"
	// ConditionConverged is True when every ready pod serves the revision of
	// the current generation and holds its session keys; Unknown when the pods
	// cannot be asked.
	ConditionConverged = "Converged"
	// ConditionVerified is True when a real MCP client listed the tools of the
	// current revision through the Service; Unknown when the Service cannot be
	// reached from the operator, or verification is off.
	ConditionVerified = "Verified"
	// ConditionReady is True when the current generation serves: it is
	// accepted, all of its pods are ready, and it is Converged and Verified.
	ConditionReady = "Ready"
	// ConditionReconciling exists only while the operator works towards the
	// current generation (kstatus: InProgress).
	ConditionReconciling = "Reconciling"
	// ConditionStalled exists only while nothing but a change by a person can
	// help (kstatus: Failed).
	ConditionStalled = "Stalled"
	// ConditionDegraded exists only while something that the spec refers to is
	// missing or wrong, so that a part of the server does not work.
	ConditionDegraded = "Degraded"
	// ConditionUpgradePending exists only while a new version or configuration
	// of the operator would change the pods and has not yet.
	ConditionUpgradePending = "UpgradePending"
)

// Reasons that conditions carry.
const (
	// ReasonAccepted: the spec compiled.
	ReasonAccepted = "Accepted"
	// ReasonInvalidSpec: a field does not compile; the message has its path.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonNameConflict: a child's name is taken by an object that is not ours.
	ReasonNameConflict = "NameConflict"
	// ReasonApplyRefused: the API server refused a child, by validation, quota
	// or policy; the message has its words. It is tried again every minute.
	ReasonApplyRefused = "ApplyRefused"
	// ReasonApplyFailed: the API server has failed for seconds to take a child, or
	// a webhook in its way has; the message has its words. It is tried again.
	ReasonApplyFailed = "ApplyFailed"
	// ReasonConfigTooLarge: the compiled configuration exceeds 480 KiB.
	ReasonConfigTooLarge = "ConfigTooLarge"
	// ReasonPaused: spec.managementState is Paused.
	ReasonPaused = "Paused"
	// ReasonNotPermitted: the operator's configuration forbids a field; the
	// message has its path and what is allowed.
	ReasonNotPermitted = "NotPermitted"
	// ReasonRuntimeTooOld: the pods were held back for so long that their
	// runtime cannot read what this operator writes.
	ReasonRuntimeTooOld = "RuntimeTooOld"
	// ReasonAllPodsCurrent: every ready pod serves the current revision.
	ReasonAllPodsCurrent = "AllPodsCurrent"
	// ReasonPropagating: pods are about to take over the current revision.
	ReasonPropagating = "Propagating"
	// ReasonSlowPropagation: pods could not be told, so that they take over the
	// revision at the kubelet's own pace, within about 90 seconds.
	ReasonSlowPropagation = "SlowPropagation"
	// ReasonConfigRefused: a pod refused the current revision and serves the
	// last good one; the message has its words.
	ReasonConfigRefused = "ConfigRefused"
	// ReasonUnreachable: the operator cannot reach the pods or the Service, so
	// that it does not know.
	ReasonUnreachable = "Unreachable"
	// ReasonNoPods: there is no ready pod that could be asked.
	ReasonNoPods = "NoPods"
	// ReasonToolsListed: a client listed all tools of this revision.
	ReasonToolsListed = "ToolsListed"
	// ReasonVerificationFailed: a client got a wrong answer; the message says
	// which.
	ReasonVerificationFailed = "VerificationFailed"
	// ReasonPending: what is to be checked is not there yet.
	ReasonPending = "Pending"
	// ReasonVerificationOff: the operator runs with --verification=Off.
	ReasonVerificationOff = "VerificationOff"
	// ReasonSecretMissing: a Secret or a key of one does not exist; what needs
	// it does not work.
	ReasonSecretMissing = "SecretMissing"
	// ReasonSecretInvalid: a Secret cannot be read as what it should be.
	ReasonSecretInvalid = "SecretInvalid"
	// ReasonQueued: other servers are rolled first.
	ReasonQueued = "Queued"
	// ReasonHeld: spec.rollout.onOperatorUpgrade is Hold.
	ReasonHeld = "Held"
	// ReasonWaveStopped: too many servers failed after the operator's upgrade;
	// the others keep their pods.
	ReasonWaveStopped = "WaveStopped"
	// ReasonServing: pods of the current generation answer.
	ReasonServing = "Serving"
	// ReasonScaledToZero: spec.replicas is 0, as asked.
	ReasonScaledToZero = "ScaledToZero"
	// ReasonPodsNotReady: pods exist and are not ready yet.
	ReasonPodsNotReady = "PodsNotReady"
	// ReasonPodFailure: a pod cannot start; the message says why.
	ReasonPodFailure = "PodFailure"
	// ReasonProgressDeadlineExceeded: the roll-out made no progress in time.
	ReasonProgressDeadlineExceeded = "ProgressDeadlineExceeded"
	// ReasonRollingOut: new pods replace old ones.
	ReasonRollingOut = "RollingOut"
)
