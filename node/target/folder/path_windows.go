package folder

const backslashSeparates = true
