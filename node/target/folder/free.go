package folder

// Free returns the bytes that this user may still write on the file system of dir, -1 if the system does not say.
func Free(dir string) (int64, error) {
	d, err := openTop(dir)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	return d.free()
}
