package db

import "syscall"

func changeTime(st *syscall.Stat_t) (seconds, nanos int64) {
	return st.Ctimespec.Sec, st.Ctimespec.Nsec
}
