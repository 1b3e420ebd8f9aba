package vector

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
)

// Pinned compares a value, as JSON, with what a file of test vectors says, or writes the file if update is set. section
// is the one of docs/SPEC.md that a difference has to change too.
func Pinned[T any](t testing.TB, update bool, name, section string, got T) {
	t.Helper()
	b, err := json.MarshalIndent(got, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if update {
		if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pinned, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var want, have any
	if err := json.Unmarshal(pinned, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &have); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("%s does not hold what this code says; look at the difference, and with it change docs/SPEC.md section %s", name, section)
	}
}
