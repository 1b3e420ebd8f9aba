package handset

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// negatives are the pictures of which the camera's files are prints. A few are enough:
// what tells the files apart is the EXIF data and a comment of random bytes.
const negatives = 12

// negative is one encoded picture.
type negative struct {
	width, height int
	jpeg          []byte
}

// develop encodes the i-th picture: hills under a sky with grain, more of it the higher i.
func develop(o Options, i int) negative {
	r := generator(o, "negative", i)
	n := negative{width: 640, height: 480}
	if i%3 == 2 {
		n.width, n.height = 480, 640
	}
	img := image.NewYCbCr(image.Rect(0, 0, n.width, n.height), image.YCbCrSubsampleRatio420)
	phase, wave, grain := r.Float64()*6, 40+r.Float64()*60, 6+uint32(i)*4
	noise := r.Uint32() | 1
	for y := range n.height {
		for x := range n.width {
			noise ^= noise << 13
			noise ^= noise >> 17
			noise ^= noise << 5
			hill := float64(n.height)/2 + wave*math.Sin(float64(x)/wave+phase)
			light := 200 - 60*y/n.height
			if float64(y) > hill {
				light = 60 + 50*y/n.height
			}
			img.Y[y*img.YStride+x] = uint8(min(max(light+int(noise%grain), 0), 255))
		}
	}
	for i := range img.Cb {
		img.Cb[i], img.Cr[i] = uint8(100+i*60/len(img.Cb)), uint8(150-i*50/len(img.Cr))
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 80 + i%4*5}); err != nil {
		panic("handset: " + err.Error()) // a picture of this size always fits
	}
	n.jpeg = b.Bytes()
	return n
}

// camera returns the photos of the camera roll, in albums and not.
func camera(o Options, count int) []file {
	var films [negatives]func() negative
	for i := range films {
		films[i] = sync.OnceValue(func() negative { return develop(o, i) })
	}
	files := make([]file, count)
	for i := range files {
		r := generator(o, "photo", i)
		zone := pick(r, []int{-8 * 3600, 0, 3600, 2 * 3600, 5*3600 + 1800, 9 * 3600})
		taken := moment(r).In(time.FixedZone("", zone))
		folder := pick(r, []string{"DCIM/Camera", "DCIM/Camera", "DCIM/Camera", "Pictures/Summer 2024 ☀", "Pictures/Familie"})
		files[i] = file{
			path: fmt.Sprintf("%s/IMG_%s_%03d.jpg", folder, taken.Format("20060102_150405"), i), perm: 0o644,
			mtime: taken.Add(time.Duration(r.IntN(2_000_000_000))),
			data: func(r *rand.Rand) []byte {
				return films[i%negatives]().print(r, taken)
			},
		}
	}
	return files
}

// print makes a file of a picture: its EXIF data, a comment of random bytes, its image data.
func (n negative) print(r *rand.Rand, taken time.Time) []byte {
	s := shot{taken: taken, width: n.width, height: n.height, latitude: r.Float64()*140 - 70, longitude: r.Float64()*360 - 180,
		exposure: 30 + r.Uint32N(2000), iso: uint16(50 + r.IntN(3200))}
	comment := make([]byte, 24<<10+r.IntN(39<<10))
	fill(r, comment)
	out := append([]byte{0xff, 0xd8}, s.exif()...)
	out = append(out, segment(0xfe, comment)...)
	return append(out, n.jpeg[2:]...) // behind its start marker
}

// fill fills b with random bytes.
func fill(r *rand.Rand, b []byte) {
	for len(b) > 8 {
		le.PutUint64(b, r.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}
