cmake_minimum_required(VERSION 3.25)
# cmake -D SOURCE=... -D OUT=... -P commit.cmake: writes the commit of SOURCE into the header OUT, if it is another now.
execute_process(COMMAND git -C "${SOURCE}" describe --always --dirty --abbrev=12 --exclude=*
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR commit STREQUAL "")
    set(commit "unknown")
endif()
file(CONFIGURE OUTPUT "${OUT}" CONTENT "#define BENCH_COMMIT \"${commit}\"\n")
