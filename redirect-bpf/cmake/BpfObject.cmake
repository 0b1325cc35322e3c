# weir_bpf_object(NAME SOURCE file.bpf.c): compiles a BPF object and makes a target NAME whose users find
# "NAME.skel.h". Includes are written from the root, as everywhere. Types come from the kernel's user-space headers
# and not from the running kernel, so that the object is the same wherever it is built.
find_program(WEIR_BPF_CLANG NAMES clang-19 clang-20 clang-18 clang-17 clang-16 clang REQUIRED)
find_program(WEIR_BPFTOOL NAMES bpftool HINTS /usr/sbin /sbin REQUIRED)

function(weir_bpf_object name)
  cmake_parse_arguments(ARG "" "SOURCE" "" ${ARGN})
  set(folder ${CMAKE_BINARY_DIR}/bpf)
  set(object ${folder}/${name}.bpf.o)
  set(skeleton ${folder}/${name}.skel.h)
  file(MAKE_DIRECTORY ${folder})
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${WEIR_BPF_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter
            -I${CMAKE_SOURCE_DIR} -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
            -MD -MF ${object}.d -c ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_SOURCE} -o ${object}
    DEPENDS ${ARG_SOURCE}
    DEPFILE ${object}.d
    COMMENT "BPF object ${name}")
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND ${WEIR_BPFTOOL} gen skeleton ${object} name ${name} > ${skeleton}
    DEPENDS ${object}
    COMMENT "BPF skeleton ${name}")
  add_custom_target(${name}_object DEPENDS ${skeleton})
  add_library(${name} INTERFACE)
  add_dependencies(${name} ${name}_object)
  target_include_directories(${name} SYSTEM INTERFACE ${folder})
  set_target_properties(${name} PROPERTIES WEIR_BPF_OBJECT ${object})
endfunction()
