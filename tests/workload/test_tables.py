from finegrain.workload.tables import OTHER, OpenFile, Table


def test_a_file_is_given_up_with_its_last_descriptor_in_any_process():
    file = OpenFile("/a")
    table = Table({0: OTHER})
    assert list(table.put(3, file, False)) == []
    child = table.copy()
    assert list(child.put(4, file, False)) == []
    assert list(table.drop(3)) == []
    assert list(child.drop(4)) == []
    assert list(child.drop(3)) == [file]
    assert child.file(3) is None


def test_the_end_of_a_pipe_is_given_up_with_the_process_s_last_descriptor():
    table = Table({})
    for fd in (3, 4):
        assert list(table.put(fd, (0, 1), True)) == []
    assert table.lowest() == 0
    assert list(table.drop(3)) == []
    assert list(table.put(4, OTHER, False)) == [(0, 1)]
    assert table.cloexec == set()


def test_a_descriptor_copied_onto_itself_stays():
    file = OpenFile("/a")
    table = Table({})
    assert list(table.put(3, file, False)) == []
    assert list(table.put(3, file, False)) == []
    assert file.descriptors == 1
