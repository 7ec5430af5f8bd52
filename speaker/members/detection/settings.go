package detection

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Settings decide how fast a death is noticed, and how sure that is. All of
// them are here; a user chooses a profile.
type Settings struct {
	// Pulse is how often each speaker sends a heartbeat to each other one.
	Pulse time.Duration
	// Misses is how many heartbeats in a row must be missing before the silent one
	// is dead if its kernel, which has answered for it before, does not answer
	// either. Pulse times Misses is the time to notice a death.
	Misses int
	// MissesAlone is the same for one whose kernel has never answered, as when it
	// is on no segment of ours: there is only one kind of evidence.
	MissesAlone int
	// Silence is how long a speaker may be silent, at most, whose kernel answers:
	// it gets no processor, or hangs. Its neighbors' caches, and the kernel's
	// forwarding, go on without it. One that came back from silences lately gets more:
	// see detector.silence.
	Silence time.Duration
	// SeekInterval is how often a lost speaker is called, in the first
	// minute; SeekSlowly is how often afterwards. Both are jittered.
	SeekInterval, SeekSlowly time.Duration
	// ForgetAfter is when a speaker that is neither alive nor wanted is
	// called no more.
	ForgetAfter time.Duration
}

// Bounds of what a pulse may be, our own and what others claim of theirs.
const (
	shortestPulse = 5 * time.Millisecond
	longestPulse  = 2 * time.Second
	fewestMisses  = 3
	mostMisses    = 20
	// pauseCounts is how long a silence that ended is remembered, and longestSilence
	// the bound of what it gives a speaker.
	pauseCounts    = time.Minute
	longestSilence = 4 * time.Second
	// crowd is the number of speakers from which heartbeats become slower in
	// proportion, so that a speaker's work stays bounded.
	crowd = 24
)

// Names of the profiles.
const (
	ProfileDefault  = "default"
	ProfileFast     = "fast"
	ProfileTolerant = "tolerant"
)

// Profiles are the names that Profile knows.
func Profiles() []string { return []string{ProfileDefault, ProfileFast, ProfileTolerant} }

// Profile returns the settings of that name: "default" notices a death in
// 75 ms, "fast" in 48 ms on a quiet LAN with processor time to spare, "tolerant"
// in 1 s where packets are lost or nodes are overloaded.
func Profile(name string) (Settings, error) {
	s := Settings{
		Pulse: 25 * time.Millisecond, Misses: 3, MissesAlone: 6, Silence: time.Second,
		SeekInterval: 100 * time.Millisecond, SeekSlowly: 400 * time.Millisecond, ForgetAfter: time.Hour,
	}
	switch name {
	case ProfileDefault:
	case ProfileFast:
		s.Pulse, s.Misses, s.MissesAlone = 12*time.Millisecond, 4, 5
	case ProfileTolerant:
		s.Pulse, s.Misses, s.MissesAlone, s.Silence = 200*time.Millisecond, 5, 8, 4*time.Second
	default:
		return s, fmt.Errorf("profile %q is none of %s", name, strings.Join(Profiles(), ", "))
	}
	return s, nil
}

// Default is the profile of that name.
func Default() Settings {
	s, _ := Profile(ProfileDefault)
	return s
}

// Check refuses what would raise false alarms or flood the LAN.
func (s Settings) Check() error {
	if s.Pulse < shortestPulse || s.Pulse > longestPulse {
		return fmt.Errorf("membership: a pulse of %s is not between %s and %s", s.Pulse, shortestPulse, longestPulse)
	}
	if s.Misses < fewestMisses || s.Misses > mostMisses {
		return fmt.Errorf("membership: %d misses are not between %d and %d", s.Misses, fewestMisses, mostMisses)
	}
	if s.MissesAlone < s.Misses || s.MissesAlone > mostMisses {
		return fmt.Errorf("membership: %d misses without a witness are not between %d and %d", s.MissesAlone, s.Misses, mostMisses)
	}
	return nil
}

// Pace is the pulse among that many speakers.
func (s Settings) Pace(speakers int) time.Duration {
	if speakers <= crowd {
		return s.Pulse
	}
	return min(longestPulse, s.Pulse*time.Duration(speakers)/crowd)
}

// Patience is how long a speaker may be silent that promised this pulse: what
// it promised times our misses, but never less than our own settings say,
// since a faster sender does not make our own machine faster.
func (s Settings) Patience(promised time.Duration) time.Duration {
	return s.promised(promised) * time.Duration(s.Misses)
}

// patienceAlone is the same where MissesAlone counts.
func (s Settings) patienceAlone(promised time.Duration) time.Duration {
	return s.promised(promised) * time.Duration(s.MissesAlone)
}

// late is how long after a heartbeat the next one is late: what was under way has come.
func (s Settings) late(promised time.Duration) time.Duration { return s.promised(promised) * 3 / 2 } //nolint:mnd // half a pulse more

func (s Settings) promised(pulse time.Duration) time.Duration {
	return slices.Max([]time.Duration{s.Pulse, shortestPulse, min(pulse, longestPulse)})
}
