# What tells the registry (naming/registry.h) that a grace period is over: liburcu, or our own.  weir_registry is the one
# in the library; WEIR_URCU_FOUND: the tests can have both.

set(WEIR_REGISTRY "" CACHE STRING "Grace periods of the registry: urcu or portable; empty: urcu where it is found")
set_property(CACHE WEIR_REGISTRY PROPERTY STRINGS "" urcu portable)

set(WEIR_URCU_FOUND FALSE)
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
        pkg_check_modules(WEIR_URCU QUIET IMPORTED_TARGET liburcu-bp)
    endif()
endif()

set(weir_registry "${WEIR_REGISTRY}")
if(weir_registry STREQUAL "")
    set(weir_registry portable)
    if(WEIR_URCU_FOUND)
        set(weir_registry urcu)
    elseif(CMAKE_SYSTEM_NAME STREQUAL "Linux")
        message(STATUS "weir: liburcu-bp was not found: the registry has its own grace periods "
                       "(Debian, Ubuntu: apt-get install liburcu-dev pkg-config)")
    endif()
endif()
if(NOT weir_registry MATCHES "^(urcu|portable)$")
    message(FATAL_ERROR "weir: WEIR_REGISTRY is \"${WEIR_REGISTRY}\": urcu or portable")
elseif(weir_registry STREQUAL "urcu" AND NOT WEIR_URCU_FOUND)
    message(FATAL_ERROR "weir: WEIR_REGISTRY is urcu, and pkg-config finds no liburcu-bp "
                        "(Debian, Ubuntu: apt-get install liburcu-dev pkg-config)")
endif()

# For those who link the static library: what pkg-config and our CMake package say besides.
set(weir_pc_libs_private "-pthread")
if(weir_registry STREQUAL "urcu")
    string(JOIN " " weir_pc_libs_private ${WEIR_URCU_LDFLAGS} -pthread)
endif()

# liburcu 0.13 does not align its readers of flavour bp as their type says, and its inline functions, which are compiled
# into registry_urcu.c, say so to UndefinedBehaviorSanitizer.  They are read and written as words, which are aligned.
set(weir_urcu_options "")
if(WEIR_SANITIZE MATCHES "undefined")
    set(weir_urcu_options -fno-sanitize=alignment)
endif()
set_source_files_properties(naming/registry_urcu.c PROPERTIES COMPILE_OPTIONS "${weir_urcu_options}")

function(weir_registry_use target)
    if(weir_registry STREQUAL "urcu")
        target_link_libraries(${target} PRIVATE PkgConfig::WEIR_URCU)
    endif()
endfunction()
