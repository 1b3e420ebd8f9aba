package blobstore

import (
	"encoding/binary"
	"errors"

	"github.com/decant-dev/decant/proto/wire"
)

// row is the database's row of a blob: version, class, slot, CRC-32C of the blob.
type row struct {
	class wire.Class
	slot  uint32
	sum   uint32
}

const rowBytes = 10

var errRow = errors.New("blob row: malformed")

func (r row) bytes() []byte {
	out := append(make([]byte, 0, rowBytes), 1, byte(r.class))
	out = binary.BigEndian.AppendUint32(out, r.slot)
	return binary.BigEndian.AppendUint32(out, r.sum)
}

func parseRow(b []byte) (row, error) {
	if len(b) != rowBytes || b[0] != 1 || wire.Class(b[1]).BlobSize() == 0 {
		return row{}, errRow
	}
	return row{wire.Class(b[1]), binary.BigEndian.Uint32(b[2:]), binary.BigEndian.Uint32(b[6:])}, nil
}
