// Package wifi writes networks: as NetworkManager's keyfiles into a directory, into one
// Apple profile, one wpa_supplicant.conf or one text of QR codes, or as pictures of QR
// codes. All of them hold secrets: what it creates is readable by its owner only.
package wifi

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// NetworkManager is where "" leads.
const NetworkManager = "/etc/NetworkManager/system-connections"

// Open opens a place by what its name says:
//
//	FILE.mobileconfig   one Apple profile
//	FILE.conf           one wpa_supplicant.conf
//	FILE.txt            one text, a QR code's content on each line
//	FILE.png            the QR code of one network
//	DIR/*.png           a directory of QR codes, one network each
//	DIR                 a directory of keyfiles; "" is NetworkManager's
//
// A directory is created if the one above it is there.
func Open(arg string) (target.Books, error) {
	switch strings.ToLower(filepath.Ext(arg)) {
	case ".mobileconfig":
		return openFile(arg, &profile{})
	case ".conf":
		return openFile(arg, &supplicant{})
	case ".txt":
		return openFile(arg, &codes{})
	case ".png":
		if filepath.Base(arg) == "*.png" {
			return openDir(filepath.Dir(arg), picture)
		}
		return openPicture(arg)
	}
	if arg == "" {
		arg = NetworkManager
	}
	return openDir(arg, connection)
}

// kinds is what all of them take.
var kinds = []item.Kind{item.Network}

func version(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

func existing(id string, r item.Record) target.Existing {
	return target.Existing{Record: r, ID: id, Version: version(r.Data)}
}

func refused(format string, args ...any) error {
	return &target.RefusedError{Why: fmt.Sprintf(format, args...)}
}

func makeDir(dir string) error {
	info, err := os.Stat(dir)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s is no directory", dir)
	case os.IsNotExist(err):
		return os.Mkdir(dir, 0o700)
	}
	return err
}

func profileOf(form string) rule.Profile { return rule.Profile{Version: form} }
