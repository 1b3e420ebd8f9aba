package db

import "syscall"

func changeTime(st *syscall.Stat_t) (seconds, nanos int64) {
	return int64(st.Ctim.Sec), int64(st.Ctim.Nsec)
}
