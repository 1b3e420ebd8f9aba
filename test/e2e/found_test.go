package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// TestWhatIsFound sends what a device is found to have, with nothing named: the address book as records, photos and documents as files.
func TestWhatIsFound(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	home := w.Write("home", map[string]string{
		"Documents/letter.txt": "dear", "Documents/deep/er/tax.pdf": "money", "Desktop/note": "x", "Videos/": "",
		"Contacts/friends.vcf": vcard("1", "Ann", "Berg") + vcard("2", "Bo", "Dahl"),
	})
	at := func(c env.Command) env.Command {
		c.Env = append(c.Env, "HOME="+home, "XDG_CONFIG_HOME=", "XDG_DATA_HOME=")
		return c
	}
	declined := at(w.Device("old", "send", "--ticket"))
	declined.Stdin = "n\n"
	if r := w.Run(declined); r.Err() == nil || r.Ticket() != "" {
		t.Fatalf("the person said no: %v, a ticket: %t", r.Err(), r.Ticket() != "")
	}
	sent := w.Must(at(w.Device("old", "send", "--ticket", "--all")))
	to := w.Path("to")
	w.Must(w.ReceiveTicket(sent.Ticket(), to, "--into", "vcf:"+w.Path("book.vcf")))
	for _, dir := range []string{"Documents", "Desktop"} {
		if err := corpus.Compare(filepath.Join(home, dir), filepath.Join(to, dir)); err != nil {
			t.Error(err)
		}
	}
	book, err := os.ReadFile(w.Path("book.vcf"))
	must(t, err)
	for _, name := range []string{"Ann", "Bo"} {
		if strings.Count(string(book), "FN:"+name) != 1 {
			t.Errorf("%s is not once in the address book:\n%s", name, book)
		}
	}
}
