# The program itself, its commit, and its tests.

add_custom_target(weir_bench_commit
    COMMAND ${CMAKE_COMMAND} -D SOURCE=${PROJECT_SOURCE_DIR} -D OUT=${CMAKE_CURRENT_BINARY_DIR}/bench_commit.h
            -P ${CMAKE_CURRENT_SOURCE_DIR}/commit.cmake
    BYPRODUCTS bench_commit.h
    COMMENT "The commit that weir-bench is of" VERBATIM)

add_executable(weir-bench main.c options.c rows.c rounds.c histogram.c systems.c kinds.c limits.c throughput.c latency.c compare.c scale.c startup.c targets.c report.c plots.c
    peers/stream.c peers/futex.c peers/weir_channels.c)
add_dependencies(weir-bench weir_bench_commit)
target_compile_definitions(weir-bench PRIVATE _GNU_SOURCE)
target_compile_options(weir-bench PRIVATE -O3)
target_include_directories(weir-bench PRIVATE "${CMAKE_CURRENT_BINARY_DIR}")
target_link_libraries(weir-bench PRIVATE weir_bench_systems weir_static m)
target_link_options(weir-bench PRIVATE LINKER:--wrap=weir_os_can_fence_others)
weir_compile_options(weir-bench)
set_target_properties(weir-bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${WEIR_PROGRAM_DIR}")

# Under sanitizers and without optimisation its runs mean nothing, and take long.
if(WEIR_BUILD_TESTS AND NOT WEIR_SANITIZE AND NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
    add_test(NAME bench_commands COMMAND sh "${CMAKE_CURRENT_SOURCE_DIR}/test.sh")
    set_tests_properties(bench_commands PROPERTIES LABELS bench TIMEOUT 300 RUN_SERIAL ON
        ENVIRONMENT "WEIR_BENCH=$<TARGET_FILE:weir-bench>")
endif()

# Instructions of each operation (valgrind's callgrind: the same on every repeat), with ceilings.
add_executable(weir_bench_instructions instructions.c)
target_compile_definitions(weir_bench_instructions PRIVATE _GNU_SOURCE)
target_link_libraries(weir_bench_instructions PRIVATE weir_static)
weir_compile_options(weir_bench_instructions)
if(WEIR_BUILD_TESTS AND CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND NOT WEIR_SANITIZE)
    add_test(NAME bench_instructions COMMAND sh "${CMAKE_CURRENT_SOURCE_DIR}/instructions.sh")
    set_tests_properties(bench_instructions PROPERTIES LABELS bench TIMEOUT 120 SKIP_RETURN_CODE 77
        ENVIRONMENT "WEIR_INSTRUCTIONS=$<TARGET_FILE:weir_bench_instructions>;WEIR_CEILINGS=${CMAKE_CURRENT_SOURCE_DIR}/instructions.ceilings")
endif()
