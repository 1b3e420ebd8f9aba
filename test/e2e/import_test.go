package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/test/env"
)

// TestImportDiesWhilePlanning kills an import when it has decided and nobody has said yes: its status says that nothing is
// written, and both the same command and resume go on.
func TestImportDiesWhilePlanning(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{Build: env.Faulty})
	card := func(name string) string {
		return "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:" + name + "\r\nN:;" + name + ";;;\r\nFN:" + name + "\r\nEND:VCARD\r\n"
	}
	src := w.Write("src", map[string]string{"a.vcf": card("Ann") + card("Bob")})
	for _, again := range []string{"import", "resume"} {
		into := w.Path(again + ".vcf")
		args := []string{"import", "--yes", "vcf:" + filepath.Join(src, "a.vcf"), "--into", "vcf:" + into}
		dying := w.Device("one", args...)
		dying.Env = append(dying.Env, env.KillEnv(string(kill.ReceiverDeliverPlanned)))
		if r := w.Run(dying); r.Exit != env.ExitKilled {
			t.Fatalf("exit code %d: %s", r.Exit, r.Stderr)
		}
		all := w.Must(w.Device("one", "status")).Outcome().Transfers
		if len(all) == 0 || all[0].State != "planning" {
			t.Fatalf("%+v", all)
		}
		if again == "resume" {
			args = []string{"resume", "--yes"}
		}
		if d := w.Must(w.Device("one", args...)).Outcome().Delivered; d == nil || d.Written != 2 {
			t.Errorf("%s: %+v", again, d)
		}
		got, err := os.ReadFile(into)
		must(t, err)
		if n := strings.Count(string(got), "BEGIN:VCARD"); n != 2 {
			t.Errorf("%s: %d cards", again, n)
		}
		if all := w.Must(w.Device("one", "status")).Outcome().Transfers; all[0].State != "applied" {
			t.Errorf("%s: %+v", again, all)
		}
	}
}
