package ui

import "testing"

func TestPlacelessText(t *testing.T) {
	for detail, want := range map[string]string{
		"0 0": "0 files will not say where they were taken", "1 0": "1 file will not say where it was taken",
		"12 1": "warning: 12 files will not say where they were taken; 1 file may say it still (`decant report` lists all)", "": "", "x": "",
	} {
		if got := placelessText(detail); got != want {
			t.Errorf("%q: %q, want %q", detail, got, want)
		}
	}
}
